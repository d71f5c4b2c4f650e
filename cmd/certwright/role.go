package main

import (
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/certwright/certwright/policy"
)

func roleGroup(a *app) *cobra.Command {
	return group("role", "Roles: list who has which", `
Roles say what people and machines may do with the CA besides asking for
certificates. The policy file gives them.`, roleListCommand(a))
}

// givenRole is a line of role list.
type givenRole struct {
	Role   string            `json:"role"`
	How    string            `json:"how"` // oidc, mtls, device
	Value  string            `json:"value"`
	Claims map[string]string `json:"claims"`
	Owners []string          `json:"owners"`
}

func roleListCommand(a *app) *cobra.Command {
	file := ""
	cmd := leaf{
		use: "list [flags]", short: "List who has which role by the active policy",
		long: `
Lists the roles that the active policy gives, or the file of --policy: to whom, and
the owners that it is limited to. On the admin socket root and the server's own user
are CA admins, whatever the policy says. What one caller gets in the end is told by
certwright policy simulate --issuer URL --claim NAME=VALUE.`,
		example: `
certwright role list
certwright role list --policy policy.yaml -o json`,
		next: "certwright policy simulate --issuer URL --claim groups=NAME",
		args: exactly(),
		run: func(cmd *cobra.Command, _ []string) error {
			doc, err := a.policyDocument(cmd, file)
			if err != nil {
				return err
			}
			all := givenRoles(doc)
			return a.print(map[string]any{"roles": all}, roleRows(all))
		},
	}.command()
	cmd.Flags().StringVar(&file, "policy", "", "policy file (default: the server's active policy)")
	_ = cmd.MarkFlagFilename("policy")
	a.outputFlag(cmd)
	return cmd
}

// policyDocument is the policy of a file, or the server's active one if file is "".
func (a *app) policyDocument(cmd *cobra.Command, file string) (*policy.Document, error) {
	if file != "" {
		data, err := a.readInput(file)
		if err != nil {
			return nil, err
		}
		doc, err := policy.Parse(file, data)
		if err != nil {
			return nil, findings(file, err)
		}
		return doc, nil
	}
	version, err := a.policyVersion(cmd.Context(), "")
	if err != nil {
		return nil, err
	}
	return policy.Parse("the active policy", []byte(version.GetDocument()))
}

func givenRoles(doc *policy.Document) []givenRole {
	all := []givenRole{}
	for _, b := range doc.Roles {
		for _, p := range b.Principals {
			g := givenRole{Role: string(b.Role), Claims: map[string]string{}, Owners: append([]string{}, b.Owners...)}
			for how, value := range map[string]string{"oidc": p.OIDC, "mtls": p.MTLS, "device": p.Device} {
				if value != "" {
					g.How, g.Value = how, value
				}
			}
			for name, value := range p.Claims {
				g.Claims[name] = string(value)
			}
			all = append(all, g)
		}
	}
	return all
}

func roleRows(all []givenRole) rows {
	r := rows{columns: columnsOf("role", "by", "of", "claims", "owners")}
	for _, g := range all {
		var claims []string
		for _, name := range slices.Sorted(maps.Keys(g.Claims)) {
			claims = append(claims, name+"="+g.Claims[name])
		}
		owners := "all"
		if len(g.Owners) > 0 {
			owners = strings.Join(g.Owners, ", ")
		}
		r.add(g.Role, g.Role, g.How, g.Value, strings.Join(claims, ", "), owners)
	}
	return r
}
