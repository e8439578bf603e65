// SPDX-License-Identifier: LGPL-3.0-or-later

package config

import (
	"cmp"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// credentials are user and password of a URL.
var credentials = regexp.MustCompile(`(?i)\b((?:https?|wss?|ftp)://)[^/@\s"']+@`)

// WithoutCredentials hides users and passwords of the URLs in a text.
func WithoutCredentials(text string) string {
	return credentials.ReplaceAllString(text, "${1}(hidden)@")
}

// leastSecret is how long a path or a query of a URL is at least that may be a provider's key.
const leastSecret = 12

// Secrets are the texts in the configuration that no log may have, the longest first: users, passwords and long paths of URLs, since
// providers put keys there, values of HTTP headers, and keys.
func (c *Config) Secrets() (secrets []string) {
	for _, text := range c.Beacon.API {
		api, err := url.Parse(text)
		if err != nil {
			continue // checked before
		}
		if api.User != nil {
			password, _ := api.User.Password()
			secrets = append(secrets, api.User.String(), password)
		}
		for _, part := range []string{strings.Trim(api.EscapedPath(), "/"), api.RawQuery} {
			if len(part) >= leastSecret {
				secrets = append(secrets, part)
			}
		}
	}
	for _, header := range c.Beacon.Headers {
		_, value, _ := strings.Cut(header, ":")
		secrets = append(secrets, strings.TrimSpace(value))
	}
	secrets = append(secrets, c.P2P.NodeKeyHex)
	secrets = slices.DeleteFunc(secrets, func(s string) bool { return s == "" })
	slices.SortFunc(secrets, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	return slices.Compact(secrets)
}

// hidden says whether a setting is one that dumpconfig does not print.
func (o *option) hidden(value any) bool {
	texts, isList := value.([]string)
	if !isList {
		text, _ := value.(string)
		texts = []string{text}
	}
	return slices.ContainsFunc(texts, func(s string) bool { return s != "" && (o.secret || credentials.MatchString(s)) })
}
