# Optional: nodes come and go with the pods, and pods are billed, not nodes.
resource "google_service_account" "nodes" {
  count        = var.has_cluster ? 1 : 0
  account_id   = "${var.name}-nodes"
  display_name = "Tickhandler's nodes"
}

resource "google_container_cluster" "autopilot" {
  count               = var.has_cluster ? 1 : 0
  name                = var.name
  location            = var.region
  network             = var.network
  enable_autopilot    = true
  deletion_protection = true

  private_cluster_config {
    enable_private_nodes = true
  }

  cluster_autoscaling {
    auto_provisioning_defaults {
      service_account = google_service_account.nodes[0].email
      oauth_scopes    = ["https://www.googleapis.com/auth/cloud-platform"]
    }
  }

  depends_on = [google_project_service.needed]
}
