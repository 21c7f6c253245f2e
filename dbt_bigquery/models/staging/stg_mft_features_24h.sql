{{ stage('mft_features_24h') }}
