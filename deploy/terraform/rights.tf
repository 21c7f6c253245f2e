# The identity of every process, and each right with its reason. None is over the project but the two that exist nowhere else.

resource "google_service_account" "pipeline" {
  account_id   = var.name
  display_name = "Tickhandler"
}

# Objects are read, written, replaced and scratch is removed; replacing needs the right to delete. Not the bucket itself.
resource "google_storage_bucket_iam_member" "objects" {
  bucket = google_storage_bucket.lake.name
  role   = "roles/storage.objectUser"
  member = google_service_account.pipeline.member
}

# Tables are made, loaded and partitions replaced, in these datasets alone. Not datasets, and not who may see them.
resource "google_bigquery_dataset_iam_member" "tables" {
  for_each = {
    tables = google_bigquery_dataset.tables.dataset_id
    live   = google_bigquery_dataset.live.dataset_id
    marts  = google_bigquery_dataset.marts.dataset_id
  }
  dataset_id = each.value
  role       = "roles/bigquery.dataEditor"
  member     = google_service_account.pipeline.member
}

# Load, copy and query jobs belong to a project; the right says nothing about any data.
resource "google_project_iam_member" "jobs" {
  project = var.project
  role    = "roles/bigquery.jobUser"
  member  = google_service_account.pipeline.member
}

# dbt and readers in Python fetch results over the Storage Read API, whose sessions belong to a project too.
resource "google_project_iam_member" "read_sessions" {
  project = var.project
  role    = "roles/bigquery.readSessionUser"
  member  = google_service_account.pipeline.member
}

# The vendor's key, and no other secret.
resource "google_secret_manager_secret_iam_member" "tardis_key" {
  secret_id = google_secret_manager_secret.tardis_key.id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.pipeline.member
}

# Pods under this Kubernetes service account are the one above: no key file is made, so none can be lost.
resource "google_service_account_iam_member" "workload_identity" {
  count              = var.has_cluster ? 1 : 0
  service_account_id = google_service_account.pipeline.name
  role               = "roles/iam.workloadIdentityUser"
  member             = "serviceAccount:${var.project}.svc.id.goog[${var.namespace}/tickhandler]"
  depends_on         = [google_container_cluster.autopilot]
}

# The nodes fetch the image, and nothing else of the registry's project.
resource "google_artifact_registry_repository_iam_member" "nodes" {
  count      = var.has_cluster ? 1 : 0
  location   = google_artifact_registry_repository.images.location
  repository = google_artifact_registry_repository.images.name
  role       = "roles/artifactregistry.reader"
  member     = google_service_account.nodes[0].member
}

# Nodes write their logs and numbers; this role is made for that and has no data in it.
resource "google_project_iam_member" "nodes" {
  count   = var.has_cluster ? 1 : 0
  project = var.project
  role    = "roles/container.defaultNodeServiceAccount"
  member  = google_service_account.nodes[0].member
}
