// SPDX-License-Identifier: LGPL-3.0-or-later

package metrics

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	gethmetrics "github.com/ethereum/go-ethereum/metrics"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"

	// Packages whose metrics a node carries in go-ethereum's registry.
	_ "github.com/ethereum/go-ethereum/core/vm"
	_ "github.com/ethereum/go-ethereum/p2p"
	_ "github.com/ethereum/go-ethereum/rpc"
)

var discard = slog.New(slog.DiscardHandler)

func common() EIP2159 {
	return EIP2159{
		Height:    func() uint64 { return 100 },
		BestKnown: func() uint64 { return 7 }, // less than the head: the head counts
		Peers:     func() int { return 3 },
		PeerLimit: 50,
	}
}

// One page must hold ours and go-ethereum's metrics, parse as Prometheus does, and be the
// same at both paths.
func TestPage(t *testing.T) {
	gethmetrics.Enable()
	gethmetrics.GetOrRegisterCounter("test/counted", nil).Inc(5)
	gethmetrics.GetOrRegisterCounter("test/beam-hot/0.5", nil).Inc(6) // not a name that Prometheus takes
	gethmetrics.GetOrRegisterGaugeInfo("test/info", nil).Update(gethmetrics.GaugeInfoValue{"version": "v1", "os": "any"})
	gethmetrics.GetOrRegisterMeter("test/meter", nil).Mark(4)
	gethmetrics.GetOrRegisterTimer("test/timer", nil).Update(time.Second)
	gethmetrics.GetOrRegisterResettingTimer("test/resetting", nil).Update(time.Second)
	histogram := gethmetrics.GetOrRegisterHistogram("test/histogram", nil, gethmetrics.NewUniformSample(10))
	histogram.Update(3)

	registry := prometheus.NewPedanticRegistry()
	if err := common().Register(registry); err != nil {
		t.Fatal(err)
	}
	server := NewServer("", false, registry, http.NotFoundHandler(), discard)
	timers := map[string]float64{"test_histogram": 3, "test_timer": 1e9}
	for _, path := range []string{"/metrics", "/debug/metrics/prometheus"} {
		recorder := httptest.NewRecorder()
		server.handler.ServeHTTP(recorder, httptest.NewRequest("GET", path, nil))
		if recorder.Code != http.StatusOK {
			t.Fatalf("%s: status %d: %s", path, recorder.Code, recorder.Body)
		}
		var parser expfmt.TextParser
		families, err := parser.TextToMetricFamilies(strings.NewReader(recorder.Body.String()))
		if err != nil {
			t.Fatalf("%s does not parse: %v", path, err)
		}
		want := map[string]float64{
			"ethereum_blockchain_height":       100,
			"ethereum_best_known_block_number": 100,
			"ethereum_peer_count":              3,
			"ethereum_peer_limit":              50,
			"test_counted":                     5,
			"test_beam_hot_0_5":                6,
			"test_info":                        1,
			"test_meter":                       4,
		}
		for name, value := range want {
			family := families[name]
			if family == nil {
				t.Fatalf("%s: no %s", path, name)
			}
			if got := family.Metric[0].GetGauge().GetValue() + family.Metric[0].GetCounter().GetValue(); got != value {
				t.Errorf("%s = %v, want %v", name, got, value)
			}
		}
		if families["p2p_peers"] == nil {
			t.Errorf("%s: go-ethereum's p2p_peers is missing", path)
		}
		for name, median := range timers {
			s := families[name].GetMetric()[0].GetSummary()
			if s.GetSampleCount() != 1 || s.GetSampleSum() != median || s.GetQuantile()[0].GetValue() != median {
				t.Errorf("%s: %s is %v, want one sample of %v", path, name, s, median)
			}
		}
		for name, family := range families {
			for _, suffix := range []string{"_count", "_sum"} {
				if other := families[strings.TrimSuffix(name, suffix)]; strings.HasSuffix(name, suffix) && other != nil && other.Metric[0].Summary != nil {
					t.Errorf("%s: %s (%s) collides with a summary", path, name, family.GetType())
				}
			}
		}
	}
}

func TestServerStops(t *testing.T) {
	probe, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := probe.Addr().String()
	if err := NewServer(addr, false, prometheus.NewRegistry(), http.NotFoundHandler(), discard).Run(t.Context()); err == nil || !strings.Contains(err.Error(), addr) {
		t.Errorf("taken address: error %v, want one that names it", err)
	}
	if err := probe.Close(); err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- NewServer(addr, false, prometheus.NewRegistry(), http.NotFoundHandler(), discard).Run(ctx)
	}()
	var response *http.Response
	for deadline := time.Now().Add(5 * time.Second); ; {
		if response, err = http.Get("http://" + addr + "/metrics"); err == nil || time.Now().After(deadline) {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		t.Fatal(err)
	}
	if err := response.Body.Close(); err != nil {
		t.Fatal(err)
	}
	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("stopped with %v", err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("does not stop")
	}
}

// TestSilentSeries: what go-ethereum registers and never counts is not shown; what has counted once stays, also at zero; and what
// runs in each node is shown at once.
func TestSilentSeries(t *testing.T) {
	gethmetrics.Enable()
	registry := gethmetrics.NewRegistry()
	gauge := gethmetrics.NewRegisteredGauge("some/gauge", registry)
	gethmetrics.NewRegisteredCounter("some/counter", registry)
	gethmetrics.NewRegisteredGaugeInfo("some/info", registry)
	gethmetrics.NewRegisteredTimer("some/timer", registry)
	gethmetrics.NewRegisteredCounter("fed/counter", registry)
	gatherer := GoEthereum(registry, "fed_")
	names := func() (names []string) {
		families, err := gatherer.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, family := range families {
			names = append(names, family.GetName())
		}
		return names
	}
	if got := names(); !slices.Equal(got, []string{"fed_counter"}) {
		t.Errorf("at the start: %v", got)
	}
	for _, value := range []int64{1, 0} {
		gauge.Update(value)
		if got := names(); !slices.Equal(got, []string{"fed_counter", "some_gauge"}) {
			t.Errorf("at %d: %v", value, got)
		}
	}
}

// TestOursFirst: what both registries have is shown once, with our value.
func TestOursFirst(t *testing.T) {
	ours, theirs := prometheus.NewPedanticRegistry(), gethmetrics.NewRegistry()
	gethmetrics.Enable()
	gethmetrics.NewRegisteredGauge("chain/head/block", theirs).Update(1)
	seven := func() uint64 { return 7 }
	heads := Heads{Block: seven, Header: seven, Receipt: seven, Safe: seven, Finalized: seven, ChainID: "42"}
	if err := errors.Join(heads.Register(ours), RegisterProcess(ours)); err != nil {
		t.Fatal(err)
	}
	families, err := merged(ours, GoEthereum(theirs)).Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, family := range families {
		if family.GetName() == "chain_head_block" {
			found++
			if value := family.GetMetric()[0].GetGauge().GetValue(); value != 7 {
				t.Errorf("head %v", value)
			}
		}
	}
	if found != 1 {
		t.Errorf("%d families of one name", found)
	}
}

// TestLoads: loads are those between two scrapes, and a second scrape right after the first one gets the same.
func TestLoads(t *testing.T) {
	p := newProcess()
	p.since = p.since.Add(-10 * time.Second)
	p.spent = gethmetrics.CPUStats{}
	first := p.measure()
	if first.LocalTime <= 0 || first.GlobalTime < first.LocalTime {
		t.Errorf("loads %+v", first)
	}
	if used, held := memory(); used <= 0 || held < used {
		t.Errorf("%v of %v bytes are used", used, held)
	}
	if again := p.measure(); again != first {
		t.Errorf("loads %+v, then %+v", first, again)
	}
}

// TestProfiles: Go's profiles are served only when asked for.
func TestProfiles(t *testing.T) {
	for asked, want := range map[bool]int{true: http.StatusOK, false: http.StatusNotFound} {
		recorder := httptest.NewRecorder()
		NewServer("", asked, prometheus.NewRegistry(), http.NotFoundHandler(), discard).handler.ServeHTTP(recorder, httptest.NewRequest("GET", "/debug/pprof/heap", nil))
		if recorder.Code != want || asked && recorder.Body.Len() == 0 {
			t.Errorf("asked for: %v, status %d, %d bytes", asked, recorder.Code, recorder.Body.Len())
		}
	}
}
