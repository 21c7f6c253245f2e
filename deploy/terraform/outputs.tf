output "settings" {
  description = "Settings of the platform for what was made."
  value = {
    GCP_PROJECT_ID             = var.project
    GCS_BUCKET                 = google_storage_bucket.lake.name
    BIGQUERY_LOCATION          = var.region
    BIGQUERY_DATASET           = google_bigquery_dataset.tables.dataset_id
    STREAMING_BIGQUERY_DATASET = google_bigquery_dataset.live.dataset_id
  }
}

output "image" {
  description = "Where the image is pushed."
  value       = "${var.region}-docker.pkg.dev/${var.project}/${google_artifact_registry_repository.images.repository_id}/tickhandler"
}

output "service_account" {
  description = "The identity of every process."
  value       = google_service_account.pipeline.email
}
