{{ stage('options_surface') }}
