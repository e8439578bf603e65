// SPDX-License-Identifier: LGPL-3.0-or-later

package rpc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/ethereum/go-ethereum/node" //nolint:depguard // its handler stacks and defaults only

	"github.com/sunbeam-eth/sunbeam/internal/health"
)

// Texts of go-ethereum.
var (
	errHTTPEnabled = errors.New("JSON-RPC over HTTP is already enabled")
	errWSEnabled   = errors.New("JSON-RPC over WebSocket is already enabled")
	errNotRunning  = errors.New("node not started")
)

// webEndpoints are the endpoints without authentication. They open and close while the server runs, too.
type webEndpoints struct {
	*Server

	mu     sync.Mutex
	plain  *webEndpoint // HTTP, and WebSocket if that has the same port; nil: closed
	socket *webEndpoint // WebSocket alone; nil: closed
	ctx    context.Context
	start  func(*webEndpoint) // runs an endpoint; nil: none can be opened now
}

// open opens what the configuration says, and returns the endpoints, also with an error. The caller runs them.
func (w *webEndpoints) open(ctx context.Context) (opened []*webEndpoint, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ctx = ctx
	defer func() {
		for _, e := range []*webEndpoint{w.plain, w.socket} {
			if e != nil {
				opened = append(opened, e)
			}
		}
	}()
	if w.cfg.HTTP.Enabled {
		if _, err := w.openHTTP(w.cfg.HTTP); err != nil {
			return nil, err
		}
	}
	if w.cfg.WS.Enabled {
		if _, err := w.openWS(w.cfg.WS); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// spawn says how endpoints run that are opened from now on; nil: none is opened any more.
func (w *webEndpoints) spawn(ctx context.Context, start func(*webEndpoint)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ctx, w.start = ctx, start
}

// openHTTP opens HTTP, on the port of WebSocket if it is the same. It returns the endpoint if it is a new one.
func (w *webEndpoints) openHTTP(cfg HTTP) (fresh *webEndpoint, err error) {
	e := w.plain
	if e == nil && w.socket.has(cfg.Port) {
		e = w.socket
	}
	switch {
	case e == nil:
		e = w.newEndpoint("HTTP", cfg.Host, cfg.Port)
		fresh = e
	case e.host != cfg.Host || e.port != cfg.Port:
		return nil, errEndpointRuns(e)
	case e.http.Load() != nil:
		return nil, errHTTPEnabled
	}
	srv, err := w.newRPC(cfg.Modules)
	if err != nil {
		return nil, err
	}
	if fresh == nil {
		w.socket = nil
	} else if err := e.listen(w.ctx); err != nil {
		return nil, err
	}
	e.http.Store(&route{srv: srv, prefix: cfg.Prefix, handler: node.NewHTTPHandlerStack(srv, cfg.CORS, cfg.VHosts, nil, false)})
	w.plain = e
	return fresh, nil
}

// openWS opens WebSocket, on the port of HTTP if it is the same. It returns the endpoint if it is a new one.
func (w *webEndpoints) openWS(cfg WS) (fresh *webEndpoint, err error) {
	if w.socket != nil || w.plain != nil && w.plain.ws.Load() != nil {
		return nil, errWSEnabled
	}
	srv, err := w.newRPC(cfg.Modules)
	if err != nil {
		return nil, err
	}
	r := &route{srv: srv, prefix: cfg.Prefix, handler: node.NewWSHandlerStack(srv.WebsocketHandler(cfg.Origins), nil)}
	if w.plain.has(cfg.Port) {
		if w.plain.host != cfg.Host {
			return nil, errEndpointRuns(w.plain)
		}
		w.plain.ws.Store(r)
		return nil, nil
	}
	e := w.newEndpoint("WebSocket", cfg.Host, cfg.Port)
	if err := e.listen(w.ctx); err != nil {
		return nil, err
	}
	e.ws.Store(r)
	w.socket = e
	return e, nil
}

// newEndpoint returns an endpoint that serves nothing yet. Together with HTTP, now or later, it serves the health of the node.
func (w *webEndpoints) newEndpoint(name, host string, port int) *webEndpoint {
	e := w.newWeb(name, host, port)
	if w.b.Beam != nil {
		e.health = health.Handler(w.b.Beam.Health)
	}
	return e
}

// has says whether an endpoint is open on a port. Any port is none.
func (e *webEndpoint) has(port int) bool { return e != nil && port != 0 && e.port == port }

func errEndpointRuns(e *webEndpoint) error {
	return fmt.Errorf("HTTP server already running on %s", net.JoinHostPort(e.host, strconv.Itoa(e.port)))
}

// closeHTTP closes HTTP, and WebSocket if it is on the same port, as go-ethereum does.
func (w *webEndpoints) closeHTTP() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.plain != nil {
		w.plain.stop()
		w.plain = nil
	}
}

// closeWS closes WebSocket and its connections.
func (w *webEndpoints) closeWS() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.plain != nil {
		if r := w.plain.ws.Swap(nil); r != nil {
			r.srv.Stop()
		}
	}
	if w.socket != nil {
		w.socket.stop()
		w.socket = nil
	}
}

// addrs are the addresses of the endpoints that are open.
func (w *webEndpoints) addrs() (addrs Addrs) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range []*webEndpoint{w.plain, w.socket} {
		if e == nil {
			continue
		}
		if e.http.Load() != nil {
			addrs.HTTP = e.listener.Addr().String()
		}
		if e.ws.Load() != nil {
			addrs.WS = e.listener.Addr().String()
		}
	}
	return addrs
}

// endpointsAPI is the part of the admin namespace that opens and closes endpoints. What a caller does not say is as configured.
type endpointsAPI struct{ w *webEndpoints }

// StartHTTP opens the HTTP endpoint. Lists are separated by commas; namespaces that the node does not have are left out.
func (api *endpointsAPI) StartHTTP(host *string, port *int, cors, apis, vhosts *string) (bool, error) {
	cfg := api.w.cfg.HTTP
	cfg.Host, cfg.Port = valueOr(host, cfg.Host), valueOr(port, cfg.Port)
	cfg.CORS, cfg.VHosts = listOr(cors, cfg.CORS), listOr(vhosts, cfg.VHosts)
	cfg.Modules = api.known(listOr(apis, cfg.Modules))
	if cfg.Host == "" {
		cfg.Host = node.DefaultHTTPHost
	}
	return api.open(func() (*webEndpoint, error) { return api.w.openHTTP(cfg) })
}

// StartRPC is StartHTTP by its old name.
func (api *endpointsAPI) StartRPC(host *string, port *int, cors, apis, vhosts *string) (bool, error) {
	return api.StartHTTP(host, port, cors, apis, vhosts)
}

// StartWS opens the WebSocket endpoint.
func (api *endpointsAPI) StartWS(host *string, port *int, origins, apis *string) (bool, error) {
	cfg := api.w.cfg.WS
	cfg.Host, cfg.Port = valueOr(host, cfg.Host), valueOr(port, cfg.Port)
	cfg.Origins, cfg.Modules = listOr(origins, cfg.Origins), api.known(listOr(apis, cfg.Modules))
	if cfg.Host == "" {
		cfg.Host = node.DefaultWSHost
	}
	return api.open(func() (*webEndpoint, error) { return api.w.openWS(cfg) })
}

func (api *endpointsAPI) open(open func() (*webEndpoint, error)) (bool, error) {
	w := api.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.start == nil {
		return false, errNotRunning
	}
	fresh, err := open()
	if err != nil {
		return false, err
	}
	if fresh != nil {
		w.start(fresh)
	}
	return true, nil
}

// StopHTTP closes the HTTP endpoint.
func (api *endpointsAPI) StopHTTP() bool {
	api.w.closeHTTP()
	return true
}

// StopRPC is StopHTTP by its old name.
func (api *endpointsAPI) StopRPC() bool { return api.StopHTTP() }

// StopWS closes the WebSocket endpoint.
func (api *endpointsAPI) StopWS() bool {
	api.w.closeWS()
	return true
}

// known are the namespaces among some that the node has.
func (api *endpointsAPI) known(modules []string) (known []string) {
	have := api.w.namespaces()
	for _, module := range modules {
		if slices.Contains(have, module) {
			known = append(known, module)
		} else {
			api.w.log.Warn("Namespace of an endpoint is left out: the node has none of this name", "namespace", module)
		}
	}
	return known
}

// listOr are the parts of a text between commas, or others if there is none.
func listOr(text *string, others []string) []string {
	if text == nil {
		return others
	}
	parts := strings.Split(*text, ",")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	return parts
}
