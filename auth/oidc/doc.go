// Package oidc proves workloads and people by signed tokens of identity providers
// (JWT, RFC 7519; keys by OpenID Connect Discovery or from a file). What it holds to:
//
//   - A provider is one that is configured, by the exact text of its claim iss. Keys
//     are its own: of the jwks_uri that its discovery document names, of a configured
//     URL, or of a file. What a token says of keys (jku, x5u, jwk, x5c) is never
//     looked at.
//   - Signatures are asymmetric, of the algorithms that the provider's configuration
//     lists. Header crit is refused.
//   - aud, exp and sub are required; nbf and iat hold if they are there. Clocks may
//     differ by the provider's leeway.
//   - Sizes, depths, key sets and fetches are bounded: an unknown kid has the keys
//     fetched again, at most once in refetchAfter, whoever asks. Everything that is
//     fetched goes through egress.
//
// Claims become those of the principal: nested objects by their path
// ("kubernetes.io/namespace"), numbers and booleans as they are.
package oidc
