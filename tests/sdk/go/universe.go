// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"

	"cloud.google.com/go/auth/credentials"
)

func universe(ctx context.Context) (any, error) {
	found, err := credentials.DetectDefault(&credentials.DetectOptions{
		Scopes: []string{"https://www.googleapis.com/auth/cloud-platform"},
	})
	if err != nil {
		return nil, err
	}
	return found.UniverseDomain(ctx)
}
