{{ stage('mft_features_4h') }}
