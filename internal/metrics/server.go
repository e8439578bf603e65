// SPDX-License-Identifier: LGPL-3.0-or-later

package metrics

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof" //nolint:gosec // what it registers by itself is served nowhere
	"strings"
	"time"

	gethmetrics "github.com/ethereum/go-ethereum/metrics"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"

	"github.com/sunbeam-eth/sunbeam/internal/health"
)

// shutdownTimeout is how long a scrape that is running may take when the node stops.
const shutdownTimeout = time.Second

// Server answers Prometheus.
type Server struct {
	addr    string
	handler http.Handler
	log     *slog.Logger
}

// NewServer returns a server for host:port that serves what ours gathers together with
// go-ethereum's registry, and the answers about the node's health; with profiles, Go's profiles too.
func NewServer(addr string, profiles bool, ours prometheus.Gatherer, answers http.Handler, log *slog.Logger) *Server {
	page := promhttp.HandlerFor(merged(ours, GoEthereum(gethmetrics.DefaultRegistry, fed...)),
		promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError, ErrorLog: errorLog{log}})
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", page)
	mux.Handle("GET /debug/metrics/prometheus", page)
	mux.Handle("GET "+health.LivePath, answers)
	mux.Handle("GET "+health.ReadyPath, answers)
	if profiles {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	return &Server{addr: addr, handler: mux, log: log}
}

// fed are the beginnings of the names of go-ethereum's metrics whose code runs in each node.
var fed = []string{"eth_db_chaindata_disk_", "p2p_", "rpc_", "txpool_pending", "txpool_queued"} //nolint:gochecknoglobals // never written

// merged gathers from both, and takes a metric that both have from the first.
func merged(first, second prometheus.Gatherer) prometheus.Gatherer {
	return prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
		families, err := first.Gather()
		others, failed := second.Gather()
		taken := make(map[string]bool, len(families))
		for _, family := range families {
			taken[family.GetName()] = true
		}
		for _, family := range others {
			if !taken[family.GetName()] {
				families = append(families, family)
			}
		}
		return families, errors.Join(err, failed)
	})
}

// Run serves until ctx ends. An address that cannot be listened on is an error.
func (s *Server) Run(ctx context.Context) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", s.addr)
	if err != nil {
		return fmt.Errorf("metrics server: %w", err)
	}
	s.log.Info("Metrics server started", "url", "http://"+listener.Addr().String()+"/metrics")
	server := &http.Server{Handler: s.handler, ReadHeaderTimeout: 5 * time.Second}
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
		defer cancel()
		stopped <- server.Shutdown(limit)
	})
	err = server.Serve(listener)
	if !stop() {
		if <-stopped != nil { // someone is still reading
			err = server.Close()
		}
	}
	if err == nil || errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("metrics server: %w", err)
}

// errorLog hands promhttp's complaints on.
type errorLog struct{ log *slog.Logger }

func (l errorLog) Println(args ...any) {
	l.log.Warn("Some metrics could not be gathered", "err", strings.TrimSpace(fmt.Sprintln(args...)))
}
