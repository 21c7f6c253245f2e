{{ stage('instruments') }}
