{{ stage('mft_features_1h') }}
