{{ stage('candles_15m') }}
