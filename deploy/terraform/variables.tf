variable "project" {
  description = "Google Cloud project."
  type        = string
}

variable "region" {
  description = "Where bucket, datasets and cluster are: one place, since bytes between regions cost money."
  type        = string
  default     = "europe-west1"
}

variable "name" {
  description = "Prefix of what is made; also the service account's name."
  type        = string
  default     = "tickhandler"
}

variable "cold_after_days" {
  description = "Raw ticks older than this move to cold storage, where reading them costs; 0 for never."
  type        = number
  default     = 0
}

variable "has_cluster" {
  description = "Make a GKE Autopilot cluster; without it the service account serves hosts."
  type        = bool
  default     = false
}

variable "namespace" {
  description = "Kubernetes namespace of the platform."
  type        = string
  default     = "tickhandler"
}

variable "alert_email" {
  description = "Who is written to when nothing was published for a day; empty for nobody."
  type        = string
  default     = ""
}

variable "network" {
  description = "VPC network of the cluster; Cloud SQL's private address has to be in it."
  type        = string
  default     = "default"
}
