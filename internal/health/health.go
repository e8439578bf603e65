// SPDX-License-Identifier: LGPL-3.0-or-later

// Package health tells load balancers and orchestrators over HTTP whether a node works.
//
// There are two questions. /health: does the process make progress? If not, a restart may help. /ready: does the node
// serve the head of its network? If not, callers go elsewhere until it does. Both are answered with 200 or 503 and with
// JSON that says why not; the metrics server and the HTTP endpoint of JSON-RPC serve them alike. A [Report] has the
// answers, and who makes it knows the node.
package health

import (
	"encoding/json"
	"net/http"
)

// Paths of the two questions.
const (
	LivePath  = "/health"
	ReadyPath = "/ready"
)

// Report is what a node says about itself.
type Report struct {
	Live    string           // why the process makes no progress; empty: it does
	Checks  map[string]Check // of readiness, by name; all of them must hold
	Reasons []string         // of the checks that do not hold, the weightiest first
	Head    uint64           // newest executed block
	Target  uint64           // newest known block
}

// Check is one condition of readiness.
type Check struct {
	OK     bool   `json:"ok"`
	Reason string `json:"reason,omitempty"` // why it does not hold
}

// Add adds a check, which holds if reason is empty.
func (r *Report) Add(name, reason string) {
	if r.Checks == nil {
		r.Checks = make(map[string]Check)
	}
	r.Checks[name] = Check{reason == "", reason}
	if reason != "" {
		r.Reasons = append(r.Reasons, reason)
	}
}

// Ready says whether the node serves the head.
func (r *Report) Ready() bool { return len(r.Reasons) == 0 }

// Reason is the weightiest one why the node is not ready, empty if it is.
func (r *Report) Reason() string {
	if r.Ready() {
		return ""
	}
	return r.Reasons[0]
}

// liveStatus is the response of LivePath.
type liveStatus struct {
	Live   bool   `json:"live"`
	Reason string `json:"reason,omitempty"`
}

// readyStatus is the response of ReadyPath.
type readyStatus struct {
	Ready  bool             `json:"ready"`
	Reason string           `json:"reason,omitempty"` // the weightiest one
	Head   uint64           `json:"head"`
	Target uint64           `json:"target"`
	Checks map[string]Check `json:"checks"`
}

// Asks reports whether a request is one of the two questions.
func Asks(r *http.Request) bool {
	return (r.Method == http.MethodGet || r.Method == http.MethodHead) && (r.URL.Path == LivePath || r.URL.Path == ReadyPath)
}

// Handler answers requests for which [Asks] is true.
func Handler(report func() Report) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		is := report()
		if r.URL.Path == LivePath {
			respond(w, is.Live == "", liveStatus{is.Live == "", is.Live})
			return
		}
		status := readyStatus{Ready: is.Ready(), Reason: is.Reason(), Head: is.Head, Target: is.Target, Checks: is.Checks}
		respond(w, status.Ready, status)
	})
}

func respond(w http.ResponseWriter, ok bool, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if !ok {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(body) // the client has gone
}
