// SPDX-License-Identifier: LGPL-3.0-or-later

package mockcl

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/beacon/engine"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/node" //nolint:depguard // for its JWT signer only
	gethrpc "github.com/ethereum/go-ethereum/rpc"
)

// Time limits of consensus clients, after the Engine API's specification: newPayloadV5 has
// 6 s, all older methods and forkchoiceUpdated have 8 s.
const (
	callTimeout   = 8 * time.Second
	callTimeoutV5 = 6 * time.Second
)

// Payload is one block as the Engine API carries it.
type Payload struct {
	Data            engine.ExecutableData
	VersionedHashes []common.Hash   // of the blobs
	BeaconRoot      common.Hash     // parent beacon block root
	Requests        []hexutil.Bytes // execution requests
	Forkchoice      engine.ForkchoiceStateV1
	Next            *engine.PayloadAttributes // with which a validator has the block after it built, a slot later
}

// fork is one that blocks are made for. It decides which versions of the methods are called.
type fork int

const (
	paris fork = iota
	prague
	osaka
	amsterdam
)

func (f fork) forkchoiceUpdated() string {
	return [...]string{"engine_forkchoiceUpdatedV1", "engine_forkchoiceUpdatedV3", "engine_forkchoiceUpdatedV3", "engine_forkchoiceUpdatedV4"}[f]
}

func (f fork) newPayload() string {
	return [...]string{"engine_newPayloadV1", "engine_newPayloadV4", "engine_newPayloadV4", "engine_newPayloadV5"}[f]
}

func (f fork) getPayload() string {
	return [...]string{"engine_getPayloadV1", "engine_getPayloadV4", "engine_getPayloadV5", "engine_getPayloadV6"}[f]
}

// fork is the payload's, by what only that one has. Prague and Osaka look the same, and have the same methods for what
// is sent.
func (p *Payload) fork() fork {
	switch {
	case p.Data.SlotNumber != nil:
		return amsterdam
	case p.Data.Withdrawals == nil:
		return paris
	}
	return osaka
}

// Client calls the Engine API of one node. It may be used concurrently.
type Client struct {
	name    string
	rpc     *gethrpc.Client
	timeout time.Duration // of each call; 0: a consensus client's
}

// Dial makes a client; the node need not be up yet. The name is for logs and records.
func Dial(ctx context.Context, name, url string, secret [32]byte) (*Client, error) {
	rpc, err := gethrpc.DialOptions(ctx, url, gethrpc.WithHTTPAuth(node.NewJWTAuth(secret)), gethrpc.WithHTTPClient(&http.Client{Transport: timed{}}))
	if err != nil {
		return nil, fmt.Errorf("engine API of %s: %w", name, err)
	}
	return &Client{name: name, rpc: rpc}, nil
}

// exchangeKey is that of a context's *time.Duration, see timed.
type exchangeKey struct{}

// timed reads each response as a whole. It notes the time from the request to the last byte in the context's *time.Duration: go-ethereum's
// client takes longer to decode a payload with blobs than a node to send it.
type timed struct{}

// RoundTrip implements http.RoundTripper.
func (timed) RoundTrip(request *http.Request) (*http.Response, error) {
	began := time.Now()
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(response.Body)
	if err := errors.Join(err, response.Body.Close()); err != nil {
		return nil, err
	}
	if took, ok := request.Context().Value(exchangeKey{}).(*time.Duration); ok {
		*took = time.Since(began)
	}
	response.Body = io.NopCloser(bytes.NewReader(body))
	return response, nil
}

// within is the same client with another time limit for each call.
func (c *Client) within(timeout time.Duration) *Client {
	return &Client{name: c.name, rpc: c.rpc, timeout: timeout}
}

// Name is what the node is called in logs and records.
func (c *Client) Name() string { return c.name }

// Close ends the client.
func (c *Client) Close() { c.rpc.Close() }

// NewPayload sends a block: newPayloadV1 in Paris, V4 up to Osaka, V5 from Amsterdam on.
func (c *Client) NewPayload(ctx context.Context, p *Payload) (engine.PayloadStatusV1, error) {
	method := p.fork().newPayload()
	if p.fork() == paris {
		var status engine.PayloadStatusV1
		err := c.call(ctx, &status, method, p.Data)
		return status, err
	}
	hashes, requests := p.VersionedHashes, p.Requests
	if hashes == nil {
		hashes = []common.Hash{}
	}
	if requests == nil {
		requests = []hexutil.Bytes{}
	}
	var status engine.PayloadStatusV1
	err := c.call(ctx, &status, method, p.Data, hashes, p.BeaconRoot, requests)
	return status, err
}

// Forkchoice makes the payload's fork choice the node's: forkchoiceUpdatedV1 in Paris, V3, or
// V4 from Amsterdam on.
func (c *Client) Forkchoice(ctx context.Context, p *Payload) (engine.PayloadStatusV1, error) {
	response, err := c.forkchoice(ctx, p.fork(), p.Forkchoice, nil)
	return response.PayloadStatus, err
}

// ForkchoiceAndBuild is Forkchoice, and has the node build the block after it.
func (c *Client) ForkchoiceAndBuild(ctx context.Context, p *Payload) (engine.PayloadStatusV1, error) {
	f := p.fork()
	if p.Next.SlotNumber != nil {
		f = amsterdam
	}
	response, err := c.forkchoice(ctx, f, p.Forkchoice, p.Next)
	return response.PayloadStatus, err
}

func (c *Client) forkchoice(ctx context.Context, f fork, state engine.ForkchoiceStateV1, attributes *engine.PayloadAttributes) (engine.ForkChoiceResponse, error) {
	var response engine.ForkChoiceResponse
	err := c.call(ctx, &response, f.forkchoiceUpdated(), state, attributes)
	return response, err
}

// call makes one call within the time limit.
func (c *Client) call(ctx context.Context, result any, method string, args ...any) error {
	limit := c.timeout
	switch {
	case limit > 0:
	case method == "engine_newPayloadV5":
		limit = callTimeoutV5
	default:
		limit = callTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := c.rpc.CallContext(ctx, result, method, args...); err != nil {
		return fmt.Errorf("%s of %s: %w", method, c.name, err)
	}
	return nil
}

// Call is a recorded call of the Engine API.
type Call struct {
	Method string            `json:"method"`
	Params []json.RawMessage `json:"params"`
}

// ReadCalls reads a file with one recorded JSON-RPC request or a list of them.
func ReadCalls(path string) ([]Call, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var calls []Call
	if strings.HasPrefix(strings.TrimSpace(string(text)), "{") {
		calls = make([]Call, 1)
		err = json.Unmarshal(text, &calls[0])
	} else {
		err = json.Unmarshal(text, &calls)
	}
	if err != nil {
		return nil, fmt.Errorf("recorded calls %s: %w", path, err)
	}
	return calls, nil
}

// Send makes a recorded newPayload or forkchoiceUpdated call, of any version.
func (c *Client) Send(ctx context.Context, call Call) (engine.PayloadStatusV1, error) {
	args := make([]any, len(call.Params))
	for i, param := range call.Params {
		args[i] = param
	}
	if strings.HasPrefix(call.Method, "engine_forkchoiceUpdated") {
		var response engine.ForkChoiceResponse
		err := c.call(ctx, &response, call.Method, args...)
		return response.PayloadStatus, err
	}
	var status engine.PayloadStatusV1
	err := c.call(ctx, &status, call.Method, args...)
	return status, err
}
