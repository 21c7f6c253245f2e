{{ stage('candles_5m') }}
