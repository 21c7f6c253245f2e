{{ stage('candles_24h') }}
