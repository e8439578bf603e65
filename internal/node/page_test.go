// SPDX-License-Identifier: LGPL-3.0-or-later

package node

import (
	"bufio"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/sunbeam-eth/sunbeam/internal/page"
)

// TestPage reads the status page of a node, and stops the node while the stream is open.
func TestPage(t *testing.T) {
	genesis := pragueGenesis()
	cfg := localConfig(t)
	cfg.Page.Enabled, cfg.Page.Port = true, 0
	n := start(t, withGenesis(t, cfg, genesis))
	<-n.page.Ready()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, n.page.URL()+"events", nil)
	check(t, err)
	response, err := http.DefaultClient.Do(request)
	check(t, err)
	defer response.Body.Close()
	line, err := bufio.NewReader(response.Body).ReadString('\n')
	check(t, err)
	var state page.State
	check(t, json.Unmarshal([]byte(strings.TrimPrefix(line, "data: ")), &state))
	if state.Phase != "beaming" || state.Head != 0 || state.Version != Version() || state.Disk.Free == 0 || state.Blocks == nil || state.Peers == nil {
		t.Errorf("%+v", state)
	}
	n.stop(t)
}
