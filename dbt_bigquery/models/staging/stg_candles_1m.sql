{{ stage('candles_1m') }}
