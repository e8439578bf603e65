// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/common/lru"
	"github.com/ethereum/go-ethereum/node" //nolint:depguard // its handler stacks and defaults only
	gethrpc "github.com/ethereum/go-ethereum/rpc"
	"golang.org/x/sync/errgroup"
)

// shutdownTimeout is how long Run waits for requests in flight.
const shutdownTimeout = 3 * time.Second

// Server serves the endpoints of a node.
type Server struct {
	cfg           Config
	log           *slog.Logger
	b             *backend
	heads         *eventFeed
	pending       *eventFeed // of transactions
	syncs         *eventFeed
	peers         *eventFeed
	subscriptions *subscriptions
	logSearches   *limiter
	engineCalls   *limiter
	chainTraces   *limiter
	receiptWaits  *limiter
	chainImports  *limiter
	apis          []gethrpc.API // all namespaces but engine
	inproc        *gethrpc.Server
	ready         chan struct{}
	auth, ipc     atomic.Pointer[string] // addresses; nil: not open
	web           *webEndpoints
}

// Addrs are the addresses of the endpoints, empty for those that are not enabled.
type Addrs struct {
	HTTP, WS, Auth string // host:port
	IPC            string // path
}

// NewServer checks the configuration and registers the namespaces. It opens no endpoint and creates no file.
// An error names the wrong flag or file.
func NewServer(cfg Config, nodeBackend Backend) (*Server, error) {
	cfg = cfg.withDefaults()
	b := &backend{Backend: nodeBackend, cfg: cfg, log: cfg.Log, metrics: newMetrics(cfg.Registerer)}
	b.stateQueries = newLimiter("state queries", cfg.StateQueries)
	b.traces = newLimiter("traces (--rpc.max-traces)", cfg.Traces.Concurrent)
	b.processors, b.callers = newProcessors(b.Busy), newCallers(cfg.Fetches.Caller)
	b.witnessed = lru.NewCache[engine.PayloadID, struct{}](maxWitnessed)
	s := &Server{
		cfg:          cfg,
		log:          cfg.Log,
		b:            b,
		heads:        newEventFeed(maxFeedEvents, maxFeedBytes),
		pending:      newEventFeed(maxPendingEvents, maxPendingBytes),
		syncs:        newEventFeed(maxValueEvents, maxValueBytes),
		peers:        newEventFeed(maxValueEvents, maxValueBytes),
		logSearches:  newLimiter("log searches", maxLogSearches),
		engineCalls:  newLimiter("Engine API calls", maxEngineCalls),
		chainTraces:  newLimiter("chain traces", maxChainTraces),
		receiptWaits: newLimiter("calls that wait for a receipt", maxReceiptWaiters),
		chainImports: newLimiter("imports and exports of blocks", 1),
		inproc:       gethrpc.NewServer(),
		ready:        make(chan struct{}),
	}
	s.web = &webEndpoints{Server: s}
	s.subscriptions = newSubscriptions(cfg.Subscriptions, cfg.Log, b.metrics)
	s.apis = s.services()
	if err := cfg.check(s.namespaces()); err != nil {
		return nil, err
	}
	if cfg.Auth.Enabled {
		if _, err := readJWTSecret(cfg.Auth.JWTFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	engine := &engineAPI{b: b, limiter: s.engineCalls, maxTimeout: responseTimeoutInProc}
	return s, s.register(s.inproc, node.DefaultAuthModules, engine)
}

// services are the methods of all namespaces but engine.
func (s *Server) services() []gethrpc.API {
	b := s.b
	logs := &logAPI{b, s.logSearches, s.heads, s.pending, s.syncs, s.subscriptions}
	return []gethrpc.API{
		{Namespace: "eth", Service: &clientAPI{b}},
		{Namespace: "eth", Service: &blockAPI{b}},
		{Namespace: "eth", Service: &transactionAPI{b}},
		{Namespace: "eth", Service: &stateAPI{b}},
		{Namespace: "eth", Service: &callAPI{b}},
		{Namespace: "eth", Service: &feeAPI{b}},
		{Namespace: "eth", Service: &submitAPI{b}},
		{Namespace: "eth", Service: &submitSyncAPI{b, s.heads, s.receiptWaits}},
		{Namespace: "eth", Service: &fillAPI{b}},
		{Namespace: "eth", Service: logs},
		{Namespace: "eth", Service: newFilterAPI(logs)},
		{Namespace: "net", Service: &netAPI{b}},
		{Namespace: "web3", Service: &web3API{b}},
		{Namespace: "admin", Service: &adminAPI{b}},
		{Namespace: "admin", Service: &endpointsAPI{s.web}},
		{Namespace: "admin", Service: &chainFilesAPI{b, s.chainImports}},
		{Namespace: "admin", Service: &peerEventsAPI{logs, s.peers}},
		{Namespace: "txpool", Service: &txpoolAPI{b}},
		{Namespace: "debug", Service: &debugAPI{b}},
		{Namespace: "debug", Service: &traceChainAPI{debugTraceAPI{b}, s.chainTraces}},
		{Namespace: "debug", Service: &badBlocksAPI{debugTraceAPI{b}}},
		{Namespace: "debug", Service: &witnessAPI{b}},
		{Namespace: "debug", Service: &debugStateAPI{b}},
		{Namespace: "debug", Service: &debugRuntimeAPI{b: b}},
		{Namespace: "debug", Service: refusedDebugAPI{}},
		{Namespace: "eth", Service: refusedEthAPI{}},
		{Namespace: "miner", Service: refusedMinerAPI{}},
		{Namespace: "trace", Service: &traceAPI{b}},
		{Namespace: "beam", Service: &beamAPI{b}},
		{Namespace: "testing", Service: &testingAPI{b}},
	}
}

// namespaces are the values that --http.api and --ws.api accept.
func (s *Server) namespaces() (names []string) {
	for _, api := range s.apis {
		if !slices.Contains(names, api.Namespace) {
			names = append(names, api.Namespace)
		}
	}
	return names
}

// register adds the namespaces among modules to an RPC server. A nil engine is not added.
func (s *Server) register(srv *gethrpc.Server, modules []string, engine *engineAPI) error {
	apis := s.apis
	if engine != nil {
		apis = append(slices.Clone(apis), gethrpc.API{Namespace: gethrpc.EngineApi, Service: engine})
	}
	for _, api := range apis {
		if !slices.Contains(modules, api.Namespace) {
			continue
		}
		if err := srv.RegisterName(api.Namespace, api.Service); err != nil {
			return fmt.Errorf("namespace %s: %w", api.Namespace, err)
		}
	}
	return nil
}

// EngineClient returns an in-process client of the namespaces engine and eth, for the built-in light client.
// Its calls return before the light client times out.
func (s *Server) EngineClient() *gethrpc.Client { return gethrpc.DialInProc(s.inproc) }

// Ready is closed once all endpoints are open.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Addrs returns the addresses of the endpoints. They are empty before Ready.
func (s *Server) Addrs() Addrs {
	addrs := s.web.addrs()
	if auth := s.auth.Load(); auth != nil {
		addrs.Auth = *auth
	}
	if ipc := s.ipc.Load(); ipc != nil {
		addrs.IPC = *ipc
	}
	return addrs
}

// Run opens all endpoints and serves until ctx ends. Then it cancels the requests in flight, waits for them
// and returns nil. An error names the endpoint. Run may be called once.
func (s *Server) Run(ctx context.Context) error {
	defer s.inproc.Stop()
	endpoints, err := s.open(ctx)
	if err != nil {
		for _, e := range endpoints {
			e.close()
		}
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	limiters := []*limiter{s.b.stateQueries, s.b.traces, s.logSearches, s.engineCalls, s.chainTraces, s.receiptWaits, s.chainImports}
	for _, l := range limiters {
		l.serverCtx.Store(&ctx)
	}
	if s.b.Heads != nil {
		group.Go(func() error { return s.heads.runHeads(ctx, s.b.Heads, s.b.Chain.Status) })
	}
	if s.b.Pool != nil {
		group.Go(func() error { return s.pending.runPending(ctx, s.b.Pool) })
	}
	if s.b.Beam != nil {
		group.Go(func() error { return s.syncs.runSyncing(ctx, s.b.Beam) })
	}
	if s.b.Network != nil {
		group.Go(func() error { return s.peers.runPeers(ctx, s.b.Network) })
	}
	for _, e := range endpoints {
		group.Go(func() error { return e.run(ctx) })
	}
	s.web.spawn(ctx, func(e *webEndpoint) { group.Go(func() error { return e.run(ctx) }) })
	group.Go(func() error { // the group does not end before it, so nothing joins the group after its end
		<-ctx.Done()
		s.web.spawn(ctx, nil)
		return nil
	})
	close(s.ready)
	err = group.Wait()

	wait, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	for _, l := range limiters {
		if err := l.wait(wait); err != nil {
			s.log.Warn("Requests still running at shutdown", "err", err)
		}
	}
	return err
}

// endpoint is a listener with its connections.
type endpoint interface {
	run(ctx context.Context) error // serves until ctx ends, then closes all connections
	close()                        // instead of run, when another endpoint cannot be opened
}

// open opens all endpoints. With an error it returns those that are open.
func (s *Server) open(ctx context.Context) (endpoints []endpoint, err error) {
	if s.cfg.Auth.Enabled {
		e, err := s.openAuth(ctx)
		if err != nil {
			return endpoints, err
		}
		endpoints = append(endpoints, e)
		s.auth.Store(ptr(e.listener.Addr().String()))
	}
	web, err := s.web.open(ctx)
	for _, e := range web {
		endpoints = append(endpoints, e)
	}
	if err != nil {
		return endpoints, err
	}
	if s.cfg.IPC != "" {
		e, err := s.openIPC(ctx)
		if err != nil {
			return endpoints, err
		}
		endpoints = append(endpoints, e)
		s.ipc.Store(&s.cfg.IPC)
	}
	return endpoints, nil
}

// openAuth opens the Engine API endpoint. It creates the JWT secret if there is none.
func (s *Server) openAuth(ctx context.Context) (*webEndpoint, error) {
	_, missing := readJWTSecret(s.cfg.Auth.JWTFile)
	secret, err := ObtainJWTSecret(s.cfg.Auth.JWTFile)
	if err != nil {
		return nil, err
	}
	engine := &engineAPI{b: s.b, limiter: s.engineCalls}
	e := s.newWeb("Engine API", s.cfg.Auth.Host, s.cfg.Auth.Port)
	e.http1Only = true
	routes := []*route{{}, {}}
	for _, r := range routes {
		srv := gethrpc.NewServer()
		srv.SetBatchLimits(authBatchItems, authBatchBytes)
		srv.SetHTTPBodyLimit(authBodyBytes)
		srv.SetWebsocketReadLimit(authBodyBytes)
		if err := s.register(srv, node.DefaultAuthModules, engine); err != nil {
			return nil, err
		}
		r.srv = srv
	}
	plain, ws := routes[0], routes[1]
	refused := func(next http.Handler) http.Handler {
		return &unauthorized{next: next, jwtFile: s.cfg.Auth.JWTFile, log: s.log}
	}
	plain.handler = refused(node.NewHTTPHandlerStack(s.b.processors.announce(plain.srv), node.DefaultAuthCors, s.cfg.Auth.VHosts, secret, true))
	ws.handler = refused(node.NewWSHandlerStack(ws.srv.WebsocketHandler(node.DefaultAuthOrigins), secret))
	e.http.Store(plain)
	e.ws.Store(ws)
	if err := e.listen(ctx); err != nil {
		return nil, err
	}
	if missing != nil {
		s.log.Warn("Made a JWT secret: start a consensus client with it", "jwt_secret", s.cfg.Auth.JWTFile, "engine", "http://"+e.listener.Addr().String())
	}
	return e, nil
}

// newRPC returns an RPC server for an endpoint without authentication.
func (s *Server) newRPC(modules []string) (*gethrpc.Server, error) {
	srv := gethrpc.NewServer()
	srv.SetBatchLimits(s.cfg.BatchItems, s.cfg.BatchBytes)
	srv.SetHTTPBodyLimit(s.cfg.BodyBytes)
	return srv, s.register(srv, modules, nil)
}

func (s *Server) newWeb(name, host string, port int) *webEndpoint {
	return &webEndpoint{name: name, host: host, port: port, log: s.log, timeouts: s.cfg.Timeouts, stopped: make(chan struct{})}
}
