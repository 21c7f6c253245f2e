# Private nodes reach the vendor through one fixed address: the vendor locks a key that comes from two addresses at a time.
resource "google_compute_address" "egress" {
  count  = var.has_cluster ? 1 : 0
  name   = "${var.name}-egress"
  region = var.region
}

resource "google_compute_router" "egress" {
  count   = var.has_cluster ? 1 : 0
  name    = "${var.name}-egress"
  region  = var.region
  network = var.network
}

resource "google_compute_router_nat" "egress" {
  count                               = var.has_cluster ? 1 : 0
  name                                = "${var.name}-egress"
  router                              = google_compute_router.egress[0].name
  region                              = var.region
  nat_ip_allocate_option              = "MANUAL_ONLY"
  nat_ips                             = [google_compute_address.egress[0].self_link]
  source_subnetwork_ip_ranges_to_nat  = "ALL_SUBNETWORKS_ALL_IP_RANGES"
  enable_dynamic_port_allocation      = true
  enable_endpoint_independent_mapping = false
  min_ports_per_vm                    = 256
  max_ports_per_vm                    = 8192
}
