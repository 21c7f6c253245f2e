# Bucket, datasets, one identity with the rights it needs and no other, a place for the image; on request a cluster.
# terraform init && terraform apply -var project=your-project
terraform {
  required_version = ">= 1.6"
  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "~> 6.0"
    }
  }
}

provider "google" {
  project = var.project
  region  = var.region
}

resource "google_project_service" "needed" {
  for_each = toset(concat(
    ["storage.googleapis.com", "bigquery.googleapis.com", "bigquerystorage.googleapis.com", "artifactregistry.googleapis.com", "secretmanager.googleapis.com", "monitoring.googleapis.com"],
    var.has_cluster ? ["container.googleapis.com"] : [],
  ))
  service            = each.value
  disable_on_destroy = false
}

resource "google_storage_bucket" "lake" {
  name                        = "${var.project}-${var.name}-lake"
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = false

  # Parts of uploads that nobody put together are stored, paid for and in no listing.
  lifecycle_rule {
    condition { age = 1 }
    action { type = "AbortIncompleteMultipartUpload" }
  }

  # What is overwritten or deleted can be had back for a week.
  soft_delete_policy {
    retention_duration_seconds = 604800
  }

  dynamic "lifecycle_rule" {
    for_each = var.cold_after_days > 0 ? [var.cold_after_days] : []
    content {
      condition {
        age            = lifecycle_rule.value
        matches_prefix = ["raw_tick_data/"]
      }
      action {
        type          = "SetStorageClass"
        storage_class = "COLDLINE"
      }
    }
  }
}

resource "google_bigquery_dataset" "tables" {
  dataset_id  = var.name
  location    = var.region
  description = "Tables of the warehouse, a partition per day."
}

resource "google_bigquery_dataset" "live" {
  dataset_id  = "${var.name}_live"
  location    = var.region
  description = "Live ticks and bars, a partition per hour that expires after 30 days."
}

resource "google_bigquery_dataset" "marts" {
  dataset_id  = "${var.name}_marts"
  location    = var.region
  description = "dbt's marts."
}

resource "google_artifact_registry_repository" "images" {
  repository_id = var.name
  location      = var.region
  format        = "DOCKER"

  cleanup_policies {
    id     = "keep-the-newest"
    action = "KEEP"
    most_recent_versions { keep_count = 20 }
  }
}

resource "google_secret_manager_secret" "tardis_key" {
  secret_id = "${var.name}-tardis-key"
  replication {
    auto {}
  }
}
