{{ stage('completeness') }}
