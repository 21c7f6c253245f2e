{{ stage('mft_features_5m') }}
