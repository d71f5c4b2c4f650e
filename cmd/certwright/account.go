package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	pb "github.com/certwright/certwright/proto/certwright/v1"
)

func accountGroup(a *app) *cobra.Command {
	return group("account", "ACME accounts: list, show, deactivate", `
The accounts of ACME clients. They are made by the clients themselves; eab create
makes keys that bind them to an owner.`,
		accountListCommand(a), accountShowCommand(a), accountDeactivateCommand(a))
}

func (a *app) accountRows(accounts ...*pb.Account) rows {
	r := rows{columns: columnsOf("id", "contacts", "owner", "grant", "state", "created", "+eab key", "+key thumbprint", "+terms agreed")}
	for _, each := range accounts {
		agreed := "no"
		if each.GetTermsAgreed() {
			agreed = "yes"
		}
		r.add(each.GetId(), each.GetId(), a.some(each.GetContacts()), each.GetOwner(), each.GetEabName(), word(each.GetState()), stamp(each.GetCreateTime()),
			each.GetEabKeyId(), each.GetKeyThumbprint(), agreed)
	}
	return r
}

func accountListCommand(a *app) *cobra.Command {
	filter, limit := "", 0
	cmd := leaf{
		use: "list [flags]", short: "List ACME accounts",
		long: `
Lists ACME accounts, oldest first, with whom to reach about them and what their
EAB key has bound them to.`,
		example: `
certwright account list
certwright account list --filter 'state = VALID AND contact:"*@team-a.internal"' -o wide`,
		next: "certwright account show ID",
		args: exactly(),
		run: func(cmd *cobra.Command, _ []string) error {
			all := &pb.ListAccountsResponse{}
			err := a.ask(cmd.Context(), func(ctx context.Context, conn *grpc.ClientConn) error {
				client := pb.NewAccountServiceClient(conn)
				return a.collect(limit, func(size int32, token string) (int, string, error) {
					page, err := client.ListAccounts(ctx, &pb.ListAccountsRequest{PageSize: size, PageToken: token, Filter: filter})
					all.Accounts = append(all.Accounts, page.GetAccounts()...)
					return len(page.GetAccounts()), page.GetNextPageToken(), err
				})
			})
			if err != nil {
				return err
			}
			return a.print(all, a.accountRows(all.GetAccounts()...))
		},
	}.command()
	filterFlag(cmd, &filter, "AIP-160 filter over id, state, owner, contact, eab_key_id, eab_name and create_time")
	limitFlag(cmd, &limit)
	a.outputFlag(cmd)
	return cmd
}

// accountID is the ID in what may be an account's URL or principal.
func accountID(text string) string {
	text = strings.TrimPrefix(text, "acme:")
	return text[strings.LastIndexByte(text, '/')+1:]
}

func (a *app) account(ctx context.Context, id string) (account *pb.Account, err error) {
	err = a.ask(ctx, func(ctx context.Context, conn *grpc.ClientConn) (err error) {
		account, err = pb.NewAccountServiceClient(conn).GetAccount(ctx, &pb.GetAccountRequest{Id: accountID(id)})
		return err
	})
	return account, err
}

func accountShowCommand(a *app) *cobra.Command {
	cmd := leaf{
		use: "show ID [flags]", short: "Show an ACME account",
		long: `
Shows an ACME account, named by its ID, its URL or its principal (acme:ID).`,
		example: `
certwright account show 0d1e2f3a4b5c6d7e8f9a0b1c
certwright account show acme:0d1e2f3a4b5c6d7e8f9a0b1c -o json`,
		next: `certwright cert explain ORDER`,
		args: exactly("the ID of an account"),
		run: func(cmd *cobra.Command, args []string) error {
			account, err := a.account(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			r := a.accountRows(account)
			r.portrait = true
			for i := range r.columns {
				r.columns[i].wide = false
			}
			return a.print(account, r)
		},
	}.command()
	a.outputFlag(cmd)
	return cmd
}

func accountDeactivateCommand(a *app) *cobra.Command {
	yes, dryRun := false, false
	cmd := leaf{
		use: "deactivate ID [flags]", short: "Deactivate an ACME account, for good",
		long: `
Deactivates an ACME account: whatever its client asks is refused from then on, and
it cannot be made valid again. Its certificates stay valid. Shows the account and
asks first.`,
		example: `
certwright account deactivate 0d1e2f3a4b5c6d7e8f9a0b1c
certwright account deactivate 0d1e2f3a4b5c6d7e8f9a0b1c --dry-run
certwright account deactivate 0d1e2f3a4b5c6d7e8f9a0b1c --yes -o json`,
		next: `certwright cert list --filter 'requester = "acme:ID"'`,
		args: exactly("the ID of an account"),
		run: func(cmd *cobra.Command, args []string) error {
			account, err := a.account(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if dryRun {
				return a.print(account, a.accountRows(account))
			}
			if !yes {
				a.note("Account %s, %s, is %s.", account.GetId(), a.some(account.GetContacts()), word(account.GetState()))
				if err := a.confirmTyped(cmd.Context(), "Its client can do nothing afterwards.", account.GetId()); err != nil {
					return err
				}
			}
			err = a.ask(cmd.Context(), func(ctx context.Context, conn *grpc.ClientConn) (err error) {
				account, err = pb.NewAccountServiceClient(conn).DeactivateAccount(ctx, &pb.DeactivateAccountRequest{Id: account.GetId()})
				return err
			})
			if err != nil {
				return err
			}
			return a.print(account, a.accountRows(account))
		},
	}.command()
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only show the account")
	a.outputFlag(cmd)
	return cmd
}
