# SPDX-License-Identifier: Apache-2.0
"""Where the machine is: what the metadata servers of App Engine (second generation), Cloud Run and GKE do otherwise
than Compute Engine's.

The two serverless ones are one program: few keys, among them the region, an id of hex digits, scopes that the caller
may choose, and identity tokens that always have the email and never describe a machine. GKE's knows the node, but the
account is that of the pod's Kubernetes service account: the one it is annotated with, or, without (`annotated`), the
cluster's workload identity pool, for which there are no identity tokens. What it passes on from IAM is plain text.
Its answers come here as a service mesh's sidecar leaves them: names of headers in small letters, without a Date."""

import dataclasses

CLOUD = "https://www.googleapis.com/auth/"
APP_ENGINE_SCOPES = [CLOUD + name for name in (
    "appengine.apis", "cloud-platform", "cloud_debugger", "devstorage.full_control", "logging.write",
    "monitoring.write", "trace.append", "userinfo.email")]
INSTANCE = "00c61b117cb4465015dfc175e49918947398289d744cc7e40126813bce21165c41143ae3559a49a434120e4a6593248173631a67"
PERMISSION = "Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist).\n"

# The words of GKE's metadata server, by the reason of a fault.
GKE_ERRORS = {
    "gke-not-bound": (403, "Unable to generate access token; IAM returned 403 Forbidden: " + PERMISSION
                      + "This error could be caused by a missing IAM policy binding on the target IAM service account.\n"),
    "gke-no-account": (404, "Unable to generate access token; IAM returned 404 Not Found: Not found; Gaia id not found "
                       "for email gone@example-proj-123.iam.gserviceaccount.com\n"),
    "gke-not-annotated": (404, "Your Kubernetes service account (default/web) is not annotated with a target Google "
                          "service account, which is a requirement for retrieving Identity Tokens using Workload "
                          "Identity.\nPlease add the iam.gke.io/gcp-service-account=[GSA_NAME]@[PROJECT_ID] annotation "
                          "to your Kubernetes service account.\n"),
}


@dataclasses.dataclass(frozen=True)
class Place:
    server: str                     # the header
    settings: dict                  # what differs from the defaults
    machine: bool = False           # identity tokens describe it
    instance: object = None         # settings -> the keys beside the accounts; None: Compute Engine's
    mesh: bool = False


def serverless(settings):
    region = settings.zone.rpartition("-")[0]
    return {"id": INSTANCE, "region": f"projects/{settings.project_number}/regions/{region}",
            "zone": f"projects/{settings.project_number}/zones/{region}-1"}


def node(settings):
    return {
        "attributes": {"cluster-location": settings.zone, "cluster-name": "cluster-1", "cluster-uid": "f00d"},
        "hostname": f"gke-node-1.{settings.zone}.c.{settings.project}.internal",
        "id": settings.instance_id,
        "zone": f"projects/{settings.project_number}/zones/{settings.zone}",
    }


PLACES = {
    "gce": Place("Metadata Server for VM", {}, machine=True),
    "appengine": Place("Metadata Server for Serverless",
                       {"email": "example-proj-123@appspot.gserviceaccount.com", "scopes": APP_ENGINE_SCOPES},
                       instance=serverless),
    "cloudrun": Place("Metadata Server for Serverless", {"email": "123456789012-compute@developer.gserviceaccount.com"},
                      instance=serverless),
    "gke": Place("GKE Metadata Server", {"scopes": [CLOUD + "cloud-platform", CLOUD + "userinfo.email"]},
                 instance=node, mesh=True),
}
