# A second pair of eyes: it speaks also when the daemon, whose sensor sends the alerts, is itself what failed.
resource "google_monitoring_notification_channel" "mail" {
  count        = var.alert_email == "" ? 0 : 1
  display_name = "Tickhandler"
  type         = "email"
  labels = {
    email_address = var.alert_email
  }
}

resource "google_monitoring_alert_policy" "silence" {
  count        = var.alert_email == "" ? 0 : 1
  display_name = "Tickhandler: nothing was written to the lake for a day"
  combiner     = "OR"

  conditions {
    display_name = "No object written"
    condition_absent {
      filter   = "resource.type = \"gcs_bucket\" AND resource.labels.bucket_name = \"${google_storage_bucket.lake.name}\" AND metric.type = \"storage.googleapis.com/api/request_count\" AND metric.labels.method = monitoring.regex.full_match(\"WriteObject|ComposeObject|RewriteObject\")"
      duration = "84600s"
      aggregations {
        alignment_period     = "3600s"
        per_series_aligner   = "ALIGN_RATE"
        cross_series_reducer = "REDUCE_SUM"
      }
    }
  }

  notification_channels = [google_monitoring_notification_channel.mail[0].id]
  documentation {
    content = "Every day is written at 08:00 UTC. See whether the daemon lives (its page), then the queue (`tickhandler status`). Runbook: docs/runbook.md."
  }
}
