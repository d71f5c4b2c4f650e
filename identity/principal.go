package identity

import (
	"strings"
	"time"
)

// Method is how a principal proved who it is.
type Method string

// The methods of proof. An unknown method is allowed nothing.
const (
	LocalSocket Method = "local_socket" // peer credentials of the admin socket
	Token       Method = "token"        // a join token
	System      Method = "system"       // the server itself
	ACME        Method = "acme"         // an ACME account
	MTLS        Method = "mtls"         // a client certificate
	OIDC        Method = "oidc"         // a signed token of an identity provider
	Device      Method = "device"       // a certificate of another CA, which is configured
	Auditor     Method = "auditor"      // a token of the auditors' file
)

// Role is what a principal may do with the API, besides what grants let it
// ask for.
type Role string

// The roles. A principal without a role can call public methods only. The last
// five are admins': the policy gives them, and the admin socket has RoleAdmin.
const (
	RoleRequester   Role = "requester"    // may ask for certificates
	RoleHolder      Role = "holder"       // holds a certificate of this CA: may renew and read it
	RoleReader      Role = "reader"       // may read the published ledger
	RoleLogin       Role = "login"        // may open a session
	RoleViewer      Role = "viewer"       // sees certificates, profiles and issuers
	RoleAuditor     Role = "auditor"      // sees everything, changes nothing
	RoleOperator    Role = "operator"     // revokes, makes tokens, manages accounts
	RolePolicyAdmin Role = "policy-admin" // changes the policy, but for who has which role
	RoleAdmin       Role = "ca-admin"     // may do everything
)

// AdminRoles are the roles that the policy can give, the least first.
func AdminRoles() []Role {
	return []Role{RoleViewer, RoleAuditor, RoleOperator, RolePolicyAdmin, RoleAdmin}
}

// Principal is who asks: proven by an authenticator, known to the authority
// and the policy, which never learn how.
type Principal struct {
	Method Method
	// ID is stable and unique within the method: a token's ID, an account's
	// ID, "admin" for the local socket, a provider's issuer and subject.
	ID    string
	Roles []Role
	// Limits are the owners whose things a role may see and change; a role that is
	// not in it has no limit.
	Limits map[Role][]string
	// Claims are what the authenticator proved about the principal; grants may
	// use them in names and owners. Values are strings, numbers, booleans,
	// lists and maps of these.
	Claims map[string]any
	// Evidence is the SHA-256 of what was shown as proof; it stands in the
	// ledger, the proof does not.
	Evidence [32]byte
	// Until is when the certificate that was shown, or another of its chain, expires;
	// zero: none was shown.
	Until time.Time
	// Basis is the SHA-256 of the configuration by which the proof is believed; zero
	// for what is not believed by configuration.
	Basis [32]byte
	// Session is the ID of the session that the principal calls in; empty: it shows
	// its own proof. In a session grants are for it by its roles alone: who may look
	// after the CA does not get by that what a workload of the same provider gets.
	Session string
	// Bound is set if the credential carries its own grant (a join token):
	// then it is the only grant that applies.
	Bound *Bound
}

// String is "method:ID": the scope of request IDs, and the ledger's actor.
func (p Principal) String() string { return string(p.Method) + ":" + p.ID }

// Has tells whether the principal holds the role.
func (p Principal) Has(role Role) bool {
	for _, r := range p.Roles {
		if r == role {
			return true
		}
	}
	return false
}

// Bound is a grant that a credential carries with it: for these profiles, these
// names, this owner, and nothing else. The same rules of matching hold as for a
// grant of the policy document.
type Bound struct {
	Name     string // how the ledger names it, such as "token:ID"
	Profiles []string
	Owner    string
	Allow    Names
	Deny     Names
	// NoChallenges lets an ACME account have these names without proving control
	// of them by a challenge.
	NoChallenges bool
	// Renews is set for a renewal: Allow are the names of the certificate, and the
	// grant called Name in the policy document must still give them. The grant of a
	// join token stands for itself: whoever asks has looked whether it still holds.
	Renews *Origin
}

// Origin is who had the first certificate of a line of renewals.
type Origin struct {
	Method Method
	ID     string
}

// OriginOf reads the text of a Principal: "method:ID".
func OriginOf(text string) Origin {
	method, id, _ := strings.Cut(text, ":")
	return Origin{Method: Method(method), ID: id}
}

// Names are patterns, by type, in the policy document's language: "*.x" is one
// more label, ".x" any depth below x, a CIDR for addresses.
type Names struct {
	DNS   []string `json:"dns,omitempty"`
	IP    []string `json:"ip,omitempty"`
	URI   []string `json:"uri,omitempty"`
	Email []string `json:"email,omitempty"`
}

// Empty tells whether there is no pattern at all.
func (n Names) Empty() bool {
	return len(n.DNS)+len(n.IP)+len(n.URI)+len(n.Email) == 0
}
