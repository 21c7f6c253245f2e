{{ stage('mft_features_1m') }}
