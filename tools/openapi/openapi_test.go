// Package openapi holds the HTTP API of tasks against its description. It is a module of its own, so
// that nobody who uses layshaft downloads the validator.
package openapi

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"github.com/layshaft/layshaft/coordinator/httpapi"
	"github.com/layshaft/layshaft/coordinator/taskserver"
)

// The description is valid OpenAPI, and every request and answer below is as described.
func TestDescription(t *testing.T) {
	server, err := taskserver.Open(taskserver.Config{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	}()
	web := httptest.NewServer(httpapi.New(httpapi.Config{Tasks: server, Caller: (*http.Request).Context}))
	defer web.Close()

	doc, err := openapi3.NewLoader().LoadFromURI(mustParse(t, web.URL+"/api/v1/openapi.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(ctx); err != nil {
		t.Fatal(err)
	}
	doc.Servers = openapi3.Servers{{URL: web.URL}}
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	openapi3filter.RegisterBodyDecoder("image/png", openapi3filter.FileBodyDecoder)
	// send sends a request, checks it and its answer, and returns the status and the Location.
	send := func(request, kind, body string, wrong bool) (int, string) {
		t.Helper()
		method, path, _ := strings.Cut(request, " ")
		r, err := http.NewRequestWithContext(ctx, method, web.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", kind)
		route, params, err := router.FindRoute(r)
		if err != nil {
			t.Fatalf("%s: %v", request, err)
		}
		in := &openapi3filter.RequestValidationInput{Request: r, PathParams: params, Route: route}
		if err := openapi3filter.ValidateRequest(ctx, in); (err != nil) != wrong {
			t.Errorf("%s %s: the request: %v", request, body, err)
		}
		r.Body = io.NopCloser(strings.NewReader(body))
		got, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer got.Body.Close()
		answer, err := io.ReadAll(got.Body)
		if err != nil {
			t.Fatal(err)
		}
		out := &openapi3filter.ResponseValidationInput{RequestValidationInput: in, Status: got.StatusCode, Header: got.Header, Body: io.NopCloser(bytes.NewReader(answer)),
			Options: &openapi3filter.Options{IncludeResponseStatus: true}}
		if err := openapi3filter.ValidateResponse(ctx, out); err != nil {
			t.Errorf("%s %s: %d %s: %v", request, body, got.StatusCode, answer, err)
		}
		return got.StatusCode, got.Header.Get("Location")
	}
	status, task := send("POST /api/v1/tasks", "application/json", `{"function":"f","input":{"a":[1]},"unique":"u","priority":"low","after":"1h","keep":"1h","wait":"1ms"}`, false)
	if status != http.StatusAccepted {
		t.Errorf("a submit that waits: %d", status)
	}
	for _, tt := range []struct {
		request, kind, body string
		wrong               bool
		status              int
	}{
		{"POST /api/v1/tasks", "application/json", `{"function":"f"}`, false, 201},
		{"POST /api/v1/tasks?function=f&priority=high", "image/png", "x", false, 201},
		{"POST /api/v1/tasks", "application/json", `{"function":"f","priority":"urgent"}`, true, 400},
		{"POST /api/v1/tasks", "application/json", `{"function":"f","color":"red"}`, true, 400},
		{"POST /api/v1/tasks", "image/png", "x", false, 415},
		{"GET " + task, "", "", false, 200},
		{"GET " + task + "?wait=1ms", "", "", false, 200},
		{"GET " + task + "/result", "", "", false, 409},
		{"GET /api/v1/tasks/77", "", "", false, 404},
		{"DELETE " + task, "", "", false, 204},
		{"DELETE " + task, "", "", false, 409},
		{"GET " + task, "", "", false, 200},
	} {
		if status, _ := send(tt.request, tt.kind, tt.body, tt.wrong); status != tt.status {
			t.Errorf("%s %s: %d, want %d", tt.request, tt.body, status, tt.status)
		}
	}
}

func mustParse(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}
