// SPDX-License-Identifier: Apache-2.0

// What programs do with Go's libraries, unmodified: ask WHAT [ARGUMENT ...]
// prints JSON.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"

	"cloud.google.com/go/compute/metadata"
	"google.golang.org/api/idtoken"
)

func idToken(ctx context.Context, audience string) (any, error) {
	source, err := idtoken.NewTokenSource(ctx, audience)
	if err != nil {
		return nil, err
	}
	token, err := source.Token()
	if err != nil {
		return nil, err
	}
	return token.AccessToken, nil
}

func ask(path string) string {
	value, err := metadata.Get(path)
	if err != nil {
		return "error: " + err.Error()
	}
	return value
}

func about() (any, error) {
	email, err := metadata.Email("default")
	if err != nil {
		return nil, err
	}
	scopes, err := metadata.Scopes("default")
	if err != nil {
		return nil, err
	}
	project, err := metadata.ProjectID()
	if err != nil {
		return nil, err
	}
	_, missing := metadata.Get("instance/attributes/no-such-thing")
	_, notDefined := missing.(metadata.NotDefinedError)
	return map[string]any{
		"available": metadata.OnGCE(), "email": email, "scopes": scopes,
		"project":   project,
		"number":    ask("project/numeric-project-id"),
		"accounts":  ask("instance/service-accounts/"),
		"undefined": notDefined,
	}, nil
}

func overSocket(path, audience string) (any, error) {
	client := http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
	}}
	request, err := http.NewRequest("GET",
		"http://localhost/v1/token?audience="+url.QueryEscape(audience), nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Metadata-Flavor", "Google")
	answer, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if answer.StatusCode != 200 {
		return nil, fmt.Errorf("%d %s", answer.StatusCode, body)
	}
	return string(body), err
}

func do(what string, argument ...string) (any, error) {
	ctx := context.Background()
	switch what {
	case "idToken":
		return idToken(ctx, argument[0])
	case "accessToken":
		return metadata.Get("instance/service-accounts/default/token")
	case "metadata":
		return about()
	case "universe":
		return universe(ctx)
	case "verify":
		payload, err := idtoken.Validate(ctx, argument[0], argument[1])
		if err != nil {
			return nil, err
		}
		return payload.Claims, nil
	case "unix":
		return overSocket(argument[0], argument[1])
	}
	return nil, fmt.Errorf("nothing is called %s", what)
}

func main() {
	value, err := do(os.Args[1], os.Args[2:]...)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	json.NewEncoder(os.Stdout).Encode(value)
}
