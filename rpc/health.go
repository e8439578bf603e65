// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"encoding/json"
	"net/http"
)

// Paths of the HTTP endpoint for load balancers and orchestrators, on the endpoint of JSON-RPC.
const (
	healthPath = "/health" // always 200: the process serves requests
	readyPath  = "/ready"  // 200 if the node serves the head, as eth_syncing says, else 503
)

// readyStatus is the response of readyPath.
type readyStatus struct {
	Ready  bool   `json:"ready"`
	Reason string `json:"reason,omitempty"` // why it is not
	Head   uint64 `json:"head"`             // newest executed block
	Target uint64 `json:"target"`           // newest known block
}

// isHealth reports whether a request is for one of the paths above.
func isHealth(r *http.Request) bool {
	return (r.Method == http.MethodGet || r.Method == http.MethodHead) && (r.URL.Path == healthPath || r.URL.Path == readyPath)
}

// serveHealth answers such a request.
func (b *backend) serveHealth(w http.ResponseWriter, r *http.Request) {
	head := b.Chain.CurrentHeader().Number.Uint64()
	status := readyStatus{Ready: true, Head: head, Target: head}
	if b.Beam != nil {
		progress := b.Beam.Progress()
		status = readyStatus{!progress.Syncing, progress.Reason, progress.Current, progress.Highest}
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	var response any = status
	if r.URL.Path == healthPath {
		response = jsonObject{"live": true}
	} else if !status.Ready {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(response) // the client has gone
}
