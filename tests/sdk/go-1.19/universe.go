// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"

	"cloud.google.com/go/compute/metadata"
)

// These releases know of no universes; their programs may.
func universe(context.Context) (any, error) {
	return metadata.Get("universe/universe-domain")
}
