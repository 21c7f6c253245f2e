{{ stage('candles_15s') }}
