package rpc

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/ethereum/go-ethereum/node" //nolint:depguard // its handler stacks and defaults only
	gethrpc "github.com/ethereum/go-ethereum/rpc"
	"golang.org/x/sync/errgroup"
)

// shutdownTimeout bounds how long requests in flight are waited for.
const shutdownTimeout = 3 * time.Second

// Server serves all endpoints of a node.
type Server struct {
	cfg    Config
	log    *slog.Logger
	b      *backend
	fan    *headFan
	logs   *gate         // log queries
	calls  *gate         // Engine API calls
	apis   []gethrpc.API // all, the authenticated ones marked
	inproc *gethrpc.Server
	ready  chan struct{}
	addrs  atomic.Pointer[Addrs]
}

// Addrs is where a server listens; empty for what is not enabled.
type Addrs struct {
	HTTP, WS, Auth string // host:port
	IPC            string // path
}

// NewServer checks the configuration and registers the namespaces. It opens and creates
// nothing; an error names the flag or the file that is wrong.
func NewServer(cfg Config, nodeBackend Backend) (*Server, error) {
	cfg = cfg.withDefaults()
	b := &backend{Backend: nodeBackend, cfg: cfg, log: cfg.Log, meters: newMeters(cfg.Registerer)}
	b.states = newGate("state queries", cfg.StateQueries)
	s := &Server{
		cfg:    cfg,
		log:    cfg.Log,
		b:      b,
		fan:    newHeadFan(),
		logs:   newGate("log queries", logQueries),
		calls:  newGate("Engine API calls", engineCalls),
		inproc: gethrpc.NewServer(),
		ready:  make(chan struct{}),
	}
	logs := &logAPI{b, s.logs, s.fan}
	s.apis = []gethrpc.API{
		{Namespace: "eth", Service: &chainAPI{b}},
		{Namespace: "eth", Service: &stateAPI{b}},
		{Namespace: "eth", Service: &callAPI{b}},
		{Namespace: "eth", Service: &feeAPI{b}},
		{Namespace: "eth", Service: &sendAPI{b}},
		{Namespace: "eth", Service: logs},
		{Namespace: "eth", Service: newFilterAPI(logs)},
		{Namespace: "eth", Service: &aboutAPI{b}},
		{Namespace: "net", Service: &netAPI{b}},
		{Namespace: "web3", Service: &web3API{b}},
		{Namespace: "admin", Service: &adminAPI{b}},
		{Namespace: "txpool", Service: &txpoolAPI{b}},
		{Namespace: "debug", Service: &debugAPI{b}},
		{Namespace: "beam", Service: &beamAPI{b}},
	}
	if err := cfg.check(s.namespaces()); err != nil {
		return nil, err
	}
	if cfg.Auth.Enabled {
		if _, err := readJWTSecret(cfg.Auth.JWTFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	engine := &engineAPI{b: b, gate: s.calls, limit: patienceInProc}
	return s, s.register(s.inproc, node.DefaultAuthModules, engine)
}

// namespaces are those that may be named in --http.api and --ws.api.
func (s *Server) namespaces() (names []string) {
	for _, api := range s.apis {
		if !slices.Contains(names, api.Namespace) {
			names = append(names, api.Namespace)
		}
	}
	return names
}

// register adds namespaces to an RPC server, and the engine namespace if it is given.
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

// EngineClient returns a client of the engine and eth namespaces within this process, for
// the built-in light client. Its calls are answered within the light client's patience.
func (s *Server) EngineClient() *gethrpc.Client { return gethrpc.DialInProc(s.inproc) }

// Ready is closed once all endpoints are open.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Addrs says where the server listens. It is empty before Ready.
func (s *Server) Addrs() Addrs {
	if addrs := s.addrs.Load(); addrs != nil {
		return *addrs
	}
	return Addrs{}
}

// Run opens all endpoints and serves until ctx ends; then it ends what is in flight,
// waits for it and returns nil. Errors name the endpoint. It may be called once.
func (s *Server) Run(ctx context.Context) error {
	defer s.inproc.Stop()
	endpoints, err := s.open(ctx)
	if err != nil {
		for _, e := range endpoints {
			e.abandon()
		}
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	gates := []*gate{s.b.states, s.logs, s.calls}
	for _, g := range gates {
		g.life.Store(&ctx)
	}
	if s.b.Heads != nil {
		group.Go(func() error { return s.fan.run(ctx, s.b.Heads) })
	}
	for _, e := range endpoints {
		group.Go(func() error { return e.run(ctx) })
	}
	close(s.ready)
	err = group.Wait()

	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	for _, g := range gates {
		if err := g.drain(drain); err != nil {
			s.log.Warn("Requests did not end in time", "err", err)
		}
	}
	return err
}

// endpoint listens somewhere.
type endpoint interface {
	run(ctx context.Context) error // serve until ctx ends, then end all connections
	abandon()                      // close without having run
}

// open listens everywhere. It returns what it opened also with an error.
func (s *Server) open(ctx context.Context) (endpoints []endpoint, err error) {
	var addrs Addrs
	if s.cfg.Auth.Enabled {
		e, err := s.openAuth(ctx)
		if err != nil {
			return endpoints, err
		}
		endpoints, addrs.Auth = append(endpoints, e), e.listener.Addr().String()
	}
	web, err := s.openWeb(ctx)
	for _, e := range web {
		endpoints = append(endpoints, e)
		if e.http != nil {
			addrs.HTTP = e.listener.Addr().String()
		}
		if e.ws != nil {
			addrs.WS = e.listener.Addr().String()
		}
	}
	if err != nil {
		return endpoints, err
	}
	if s.cfg.IPC != "" {
		e, err := s.openIPC(ctx)
		if err != nil {
			return endpoints, err
		}
		endpoints, addrs.IPC = append(endpoints, e), s.cfg.IPC
	}
	s.addrs.Store(&addrs)
	return endpoints, nil
}

// openWeb opens the plain HTTP and WebSocket endpoints; one, if they share an address.
func (s *Server) openWeb(ctx context.Context) (opened []*webEndpoint, err error) {
	var web *webEndpoint
	if cfg := s.cfg.HTTP; cfg.Enabled {
		web = s.newWeb("HTTP", cfg.Host, cfg.Port)
		srv, err := s.newRPC(cfg.Modules)
		if err != nil {
			return nil, err
		}
		web.http = &mount{srv: srv, prefix: cfg.Prefix, handler: node.NewHTTPHandlerStack(srv, cfg.CORS, cfg.VHosts, nil, false)}
	}
	if cfg := s.cfg.WS; cfg.Enabled {
		srv, err := s.newRPC(cfg.Modules)
		if err != nil {
			return nil, err
		}
		ws := &mount{srv: srv, prefix: cfg.Prefix, handler: node.NewWSHandlerStack(srv.WebsocketHandler(cfg.Origins), nil)}
		if web != nil && cfg.Port != 0 && cfg.Port == s.cfg.HTTP.Port {
			web.name, web.ws = "HTTP and WebSocket", ws
		} else {
			alone := s.newWeb("WebSocket", cfg.Host, cfg.Port)
			alone.ws = ws
			if err := alone.listen(ctx); err != nil {
				return nil, err
			}
			opened = append(opened, alone)
		}
	}
	if web != nil {
		if err := web.listen(ctx); err != nil {
			return opened, err
		}
		opened = append(opened, web)
	}
	return opened, nil
}

// openAuth opens the Engine API endpoint. It makes the JWT secret if there is none.
func (s *Server) openAuth(ctx context.Context) (*webEndpoint, error) {
	secret, err := ObtainJWTSecret(s.cfg.Auth.JWTFile)
	if err != nil {
		return nil, err
	}
	engine := &engineAPI{b: s.b, gate: s.calls}
	e := s.newWeb("Engine API", s.cfg.Auth.Host, s.cfg.Auth.Port)
	e.http1Only = true
	for _, m := range []**mount{&e.http, &e.ws} {
		srv := gethrpc.NewServer()
		srv.SetBatchLimits(authBatchItems, authBatchBytes)
		srv.SetHTTPBodyLimit(authBodyBytes)
		srv.SetWebsocketReadLimit(authBodyBytes)
		if err := s.register(srv, node.DefaultAuthModules, engine); err != nil {
			return nil, err
		}
		*m = &mount{srv: srv}
	}
	e.http.handler = node.NewHTTPHandlerStack(e.http.srv, node.DefaultAuthCors, s.cfg.Auth.VHosts, secret, true)
	e.ws.handler = node.NewWSHandlerStack(e.ws.srv.WebsocketHandler(node.DefaultAuthOrigins), secret)
	return e, e.listen(ctx)
}

// newRPC makes an RPC server for an endpoint without authentication.
func (s *Server) newRPC(modules []string) (*gethrpc.Server, error) {
	srv := gethrpc.NewServer()
	srv.SetBatchLimits(s.cfg.BatchItems, s.cfg.BatchBytes)
	srv.SetHTTPBodyLimit(s.cfg.BodyBytes)
	return srv, s.register(srv, modules, nil)
}

func (s *Server) newWeb(name, host string, port int) *webEndpoint {
	return &webEndpoint{
		name:     name,
		addr:     net.JoinHostPort(host, strconv.Itoa(port)),
		log:      s.log,
		timeouts: s.cfg.Timeouts,
	}
}
