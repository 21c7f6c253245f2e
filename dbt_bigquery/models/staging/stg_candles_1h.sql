{{ stage('candles_1h') }}
