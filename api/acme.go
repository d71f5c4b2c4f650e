package api

import (
	"context"
	"time"

	"github.com/certwright/certwright/identity/enrol"
	"github.com/certwright/certwright/problem"
	certwrightv1 "github.com/certwright/certwright/proto/certwright/v1"
	"github.com/certwright/certwright/storage"
)

// Accounts are the ACME server's accounts. What is not there is a
// *problem.Problem of kind NotFound.
type Accounts interface {
	Account(ctx context.Context, id string) (enrol.Account, error)
	// Accounts are one page, by ID, after next of the page before.
	Accounts(ctx context.Context, after []byte, limit int) (page []enrol.Account, next []byte, err error)
	// DeactivateAccount leaves an account that is not valid as it is.
	DeactivateAccount(ctx context.Context, id, actor string) (enrol.Account, error)
}

// EABKeys are the ACME server's EAB keys.
type EABKeys interface {
	// CreateEAB makes a key. hmac is its secret, base64url without padding.
	CreateEAB(ctx context.Context, spec enrol.EABSpec) (key enrol.EABKey, hmac string, err error)
	// EABKeys are one page, by ID, after next of the page before.
	EABKeys(ctx context.Context, after []byte, limit int) (page []enrol.EABKey, next []byte, err error)
	// RevokeEAB leaves a key that is revoked as it is.
	RevokeEAB(ctx context.Context, id, actor string) (enrol.EABKey, error)
}

// Orders are the ACME server's orders.
type Orders interface {
	// Order is one with its authorizations.
	Order(ctx context.Context, id string) (enrol.Order, error)
	// OrderOf is the one that was finalized under this request key, with its
	// authorizations.
	OrderOf(ctx context.Context, requestKey [32]byte) (enrol.Order, error)
	// Orders are one page of an account, or of all with account "", by ID, after
	// next of the page before; without authorizations.
	Orders(ctx context.Context, account string, after []byte, limit int) (page []enrol.Order, next []byte, err error)
	// ReplaceBy pulls the renewal windows of certificates forward (RFC 9773).
	ReplaceBy(ctx context.Context, certificates []storage.Certificate, before time.Time, explanation string) error
}

// ACME is what the API shows of the ACME server.
type ACME struct {
	Accounts  Accounts
	EABKeys   EABKeys
	Orders    Orders
	Directory string // its URL
}

// acme is the ACME server's side, or the refusal if there is none.
func (s *Server) acme() (*ACME, error) {
	if s.config.ACME == nil {
		return nil, &problem.Problem{
			Kind: problem.FailedPrecondition, Rule: "acme", Detail: "this server does not speak ACME",
			Help: "serve ACME on the HTTPS listener: set acme.challenges and listen.https",
		}
	}
	return s.config.ACME, nil
}

// accountService implements certwright.v1.AccountService.
type accountService struct {
	certwrightv1.UnimplementedAccountServiceServer
	*Server
}

// GetAccount implements certwright.v1.AccountService.
func (s *accountService) GetAccount(ctx context.Context, in *certwrightv1.GetAccountRequest) (*certwrightv1.Account, error) {
	acme, err := s.acme()
	if err != nil {
		return nil, err
	}
	a, err := visibleAccount(ctx, acme, in.GetId())
	if err != nil {
		return nil, err
	}
	return accountMessage(a), nil
}

// visibleAccount is an account, if the caller may see it.
func visibleAccount(ctx context.Context, acme *ACME, id string) (enrol.Account, error) {
	a, err := acme.Accounts.Account(ctx, id)
	if err == nil && !callOf(ctx).view.sees(a.Owner) {
		return enrol.Account{}, &problem.Problem{Kind: problem.NotFound, Value: id, Detail: "there is no such account", Help: "List them: certwright account list."}
	}
	return a, err
}

// DeactivateAccount implements certwright.v1.AccountService.
func (s *accountService) DeactivateAccount(ctx context.Context, in *certwrightv1.DeactivateAccountRequest) (*certwrightv1.Account, error) {
	acme, err := s.acme()
	if err != nil {
		return nil, err
	}
	if _, err := visibleAccount(ctx, acme, in.GetId()); err != nil {
		return nil, err
	}
	a, err := acme.Accounts.DeactivateAccount(ctx, in.GetId(), callOf(ctx).principal.String())
	if err != nil {
		return nil, err
	}
	return accountMessage(a), nil
}

// ListAccounts implements certwright.v1.AccountService.
func (s *accountService) ListAccounts(ctx context.Context, in *certwrightv1.ListAccountsRequest) (*certwrightv1.ListAccountsResponse, error) {
	acme, err := s.acme()
	if err != nil {
		return nil, err
	}
	out := &certwrightv1.ListAccountsResponse{}
	out.Accounts, out.NextPageToken, err = scan(ctx, listing{in.GetPageSize(), in.GetPageToken(), in.GetFilter(), "accounts"}, accountFields(),
		acme.Accounts.Accounts, accountMessage, ofOwner(ctx, accountRow, (*certwrightv1.Account).GetOwner))
	return out, err
}
