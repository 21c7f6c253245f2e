{{ stage('candles_4h') }}
