// SPDX-License-Identifier: LGPL-3.0-or-later

package node

import (
	"context"
	"log/slog"
	"net/url"
	"time"

	"github.com/ethereum/go-ethereum/beacon/blsync"
	bparams "github.com/ethereum/go-ethereum/beacon/params"
	gethrpc "github.com/ethereum/go-ethereum/rpc"
)

// lightClientPatience is how long the light client may take to stop: go-ethereum's waits
// for the beacon node's answers, up to 10 s each, and cannot be told otherwise.
const lightClientPatience = 2 * time.Second

// lightClient follows the beacon chain by sync committee signatures and drives our own
// Engine API, so that the node needs no consensus client. It is go-ethereum's
// blsync, which in v1.17.10 follows chains up to Gloas.
type lightClient struct {
	config bparams.ClientConfig
	engine *gethrpc.Client // the in-process client of our Engine API
	log    *slog.Logger
}

// withoutCredentials leaves scheme and host of URLs: users, passwords and paths of providers are secrets.
func withoutCredentials(urls []string) (hosts []string) {
	for _, text := range urls {
		parsed, err := url.Parse(text)
		if err != nil {
			hosts = append(hosts, "(not a URL)")
			continue
		}
		hosts = append(hosts, parsed.Scheme+"://"+parsed.Host)
	}
	return hosts
}

// Run follows the chain until ctx ends.
func (l *lightClient) Run(ctx context.Context) error {
	client := blsync.NewClient(l.config)
	client.SetEngineRPC(l.engine)
	if err := client.Start(); err != nil {
		return err
	}
	l.log.Info("Beacon light client started", "api", withoutCredentials(l.config.Apis), "checkpoint", l.config.Checkpoint)
	<-ctx.Done()
	stopped := make(chan error, 1)
	go func() { stopped <- client.Stop() }()
	select {
	case err := <-stopped:
		return err
	case <-time.After(lightClientPatience):
		l.log.Warn("Beacon light client still waits for its beacon node; left behind")
		return nil
	}
}
