"""One operation of python3-acme: acme_client.py VERB with a JSON object on standard input.

register: {directory, email, key, kid?, hmac?}             makes the account's key file and registers it
issue:    {directory, key, names, ips, challenge, address, http_port, set, out}
revoke:   {directory, key, cert}
"""
import ipaddress
import json
import os
import sys
import threading
import urllib.parse
import urllib.request

import josepy
import OpenSSL
from acme import client, crypto_util, messages, standalone
from cryptography.hazmat.backends import default_backend
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa


def connect(args):
    with open(args["key"], "rb") as f:
        key = josepy.JWKRSA.load(f.read())
    net = client.ClientNetwork(key, user_agent="python3-acme")
    directory = client.ClientV2.get_directory(args["directory"], net)
    return client.ClientV2(directory, net)


def register(args):
    if not os.path.exists(args["key"]):
        key = rsa.generate_private_key(65537, 2048, default_backend())
        with open(args["key"], "wb") as f:
            f.write(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL,
                                      serialization.NoEncryption()))
    c = connect(args)
    binding = None
    if "kid" in args:
        binding = messages.ExternalAccountBinding.from_data(c.net.key.public_key(), args["kid"], args["hmac"], c.directory)
    c.new_account(messages.NewRegistration.from_data(
        email=args["email"], terms_of_service_agreed=True, external_account_binding=binding))


def login(args):
    c = connect(args)
    try:  # the account that the key has
        c.new_account(messages.NewRegistration(only_return_existing=True))
    except client.errors.ConflictError as e:
        c.net.account = messages.RegistrationResource(body=messages.Registration(), uri=e.location)
        c.net.account = c.query_registration(c.net.account)
    return c


def txt(url, name, value):
    body = urllib.parse.urlencode({"name": name, "value": value}).encode()
    urllib.request.urlopen(url, body).read()


def issue(args):
    c = login(args)
    key = OpenSSL.crypto.PKey()
    key.generate_key(OpenSSL.crypto.TYPE_RSA, 2048)
    csr = crypto_util.make_csr(OpenSSL.crypto.dump_privatekey(OpenSSL.crypto.FILETYPE_PEM, key), args["names"],
                               ipaddrs=[ipaddress.ip_address(ip) for ip in args["ips"]])
    order = c.new_order(csr)
    pages, answers = set(), []
    for authz in order.authorizations:
        if authz.body.status == messages.STATUS_VALID:
            continue
        challb = next(x for x in authz.body.challenges if x.chall.typ == args["challenge"])
        response, validation = challb.response_and_validation(c.net.key)
        if args["challenge"] == "http-01":
            pages.add(standalone.HTTP01RequestHandler.HTTP01Resource(chall=challb.chall, response=response, validation=validation))
        else:
            txt(args["set"], challb.chall.validation_domain_name(authz.body.identifier.value), validation)
        answers.append((challb, response))
    if pages:
        server = standalone.HTTP01Server((args["address"], args["http_port"]), pages)
        threading.Thread(target=server.serve_forever, daemon=True).start()
    for challb, response in answers:
        c.answer_challenge(challb, response)
    done = c.poll_and_finalize(order)
    with open(args["out"], "w") as f:
        f.write(done.fullchain_pem)


def revoke(args):
    c = login(args)
    with open(args["cert"], "rb") as f:
        cert = OpenSSL.crypto.load_certificate(OpenSSL.crypto.FILETYPE_PEM, f.read())
    c.revoke(josepy.ComparableX509(cert), 4)


{"register": register, "issue": issue, "revoke": revoke}[sys.argv[1]](json.load(sys.stdin))
