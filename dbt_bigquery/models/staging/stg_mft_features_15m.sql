{{ stage('mft_features_15m') }}
