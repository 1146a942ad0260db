#!/usr/bin/env python3
"""Recomputes the frozen vectors with another implementation. Needs the package `cryptography`."""

import base64
import hashlib
import hmac
import json
import pathlib
import struct

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

HERE = pathlib.Path(__file__).parent
CHECKS = 0


def load(name):
    return json.loads((HERE / f"{name}.json").read_text())


def same(ours, theirs):
    global CHECKS
    assert ours == theirs, (ours, theirs)
    CHECKS += 1


def H(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def extract(salt, ikm):
    return hmac.digest(salt or bytes(32), ikm, "sha256")


def expand(prk, info, n):
    out, block, i = b"", b"", 1
    while len(out) < n:
        block = hmac.digest(prk, block + info + bytes([i]), "sha256")
        out, i = out + block, i + 1
    return out[:n]


def KDF(ikm, salt, info, n=32):
    return expand(extract(salt, ikm), info, n)


def u32(n):
    return struct.pack(">I", n)


def u64(n):
    return struct.pack(">Q", n)


def public(seed):
    key = Ed25519PrivateKey.from_private_bytes(seed).public_key()
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def verify(key, signature, *parts):
    global CHECKS
    Ed25519PublicKey.from_public_bytes(key).verify(signature, b"".join(parts))
    CHECKS += 1


def hchacha20(key, nonce):
    state = list(struct.unpack("<16I", b"expand 32-byte k" + key + nonce))

    def quarter(a, b, c, d):
        for x, y, z, r in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            state[x] = (state[x] + state[y]) & 0xFFFFFFFF
            mixed = state[z] ^ state[x]
            state[z] = ((mixed << r) | (mixed >> (32 - r))) & 0xFFFFFFFF

    for _ in range(10):
        for place in range(4):
            quarter(place, place + 4, place + 8, place + 12)
        for a, b, c, d in ((0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)):
            quarter(a, b, c, d)
    return struct.pack("<8I", *state[:4], *state[12:])


def xchacha_open(key, nonce, ciphertext, aad):
    cipher = ChaCha20Poly1305(hchacha20(key, nonce[:16]))
    return cipher.decrypt(bytes(4) + nonce[16:], ciphertext, aad)


def box_open(key, label, context, box):
    """The committing box; gives plaintext, H(header) and com."""
    nonce, com, ct = box[2:26], box[26:58], box[58:]
    same(box[:2], b"\x01\x01")
    header = label + b"\x01\x01" + context + nonce
    okm = KDF(key, nonce, H(header), 64)
    same(okm[32:], com)
    return xchacha_open(okm[:32], nonce, ct, header), H(header), com


# HPKE (RFC 9180): DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20-Poly1305.
def labeled_extract(suite, salt, label, ikm):
    return extract(salt, b"HPKE-v1" + suite + label + ikm)


def labeled_expand(suite, prk, label, info, n):
    return expand(prk, struct.pack(">H", n) + b"HPKE-v1" + suite + label + info, n)


def hpke_setup(secret, enc, info, psk=b"", psk_id=b""):
    key = X25519PrivateKey.from_private_bytes(secret)
    mine = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    kem = b"KEM\x00\x20"
    prk = labeled_extract(kem, b"", b"eae_prk", key.exchange(X25519PublicKey.from_public_bytes(enc)))
    shared = labeled_expand(kem, prk, b"shared_secret", enc + mine, 32)
    suite = b"HPKE\x00\x20\x00\x01\x00\x03"
    context = bytes([1 if psk else 0])
    context += labeled_extract(suite, b"", b"psk_id_hash", psk_id)
    context += labeled_extract(suite, b"", b"info_hash", info)
    secret = labeled_extract(suite, shared, b"secret", psk)
    key = labeled_expand(suite, secret, b"key", context, 32)
    nonce = labeled_expand(suite, secret, b"base_nonce", context, 12)
    exporter = labeled_expand(suite, secret, b"exp", context, 32)
    return (
        lambda ct, aad: ChaCha20Poly1305(key).decrypt(nonce, ct, aad),
        lambda label: labeled_expand(suite, exporter, b"sec", label, 32),
    )


def hpke_open(secret, sealed, info, aad):
    return hpke_setup(secret, sealed[:32], info)[0](sealed[32:], aad)


def padme(n):
    n = max(n, 256)
    e = n.bit_length() - 1
    unit = 1 << (e - e.bit_length())
    return -(-n // unit) * unit


class Reader:
    """Postcard."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, n):
        self.at += n
        assert self.at <= len(self.data)
        return self.data[self.at - n : self.at]

    def varint(self):
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def bytes(self):
        return self.take(self.varint())


def keystream(seed, n):
    cipher = Cipher(algorithms.ChaCha20(bytes([seed]) * 32, bytes(16)), mode=None)
    return cipher.encryptor().update(bytes(n))


def kem_secret(device_secrets):
    """The first KEM secret: after version, three seeds, count, counter and suite."""
    return device_secrets[1 + 96 + 3 : 1 + 96 + 3 + 32]


def statement_id(label, vector):
    same(H(label, bytes.fromhex(vector["bytes"])).hex(), vector["id"])


def check_identity():
    v = {k: bytes.fromhex(x) for k, x in load("identity").items() if k not in ("recovery_words", "card")}
    entropy = keystream(1, 32)
    recovery = public(KDF(entropy, b"", b"sheaf1/recovery-sign"))
    same(recovery, v["recovery_signing_public"])
    topic = H(b"sheaf1/topic", public(KDF(entropy, b"", b"sheaf1/recovery-vault")))
    same(topic, v["recovery_vault_topic"])
    secrets = v["device_secrets"]
    signing = public(secrets[1:33])
    same(signing, v["device_signing_public"])
    same(H(b"sheaf1/dev", signing), v["device_id"])
    same(KDF(secrets[65:97], bytes([9]) * 32, b"sheaf1/relay-auth"), v["device_relay_seed"])
    same(H(b"sheaf1/user", v["genesis"]), v["user_id"])
    same(H(b"sheaf1/identity-op", v["genesis"]), v["genesis_id"])
    verify(recovery, v["genesis_recovery_signature"], b"sheaf1/user-recovery-sig", v["genesis"])
    verify(signing, v["genesis_device_signature"], b"sheaf1/user-device-sig", v["genesis"])
    certificate = Reader(v["second_certificate"])
    device, signing = certificate.take(32), certificate.take(32)
    same(H(b"sheaf1/dev", signing), device)
    kem_device, counter = certificate.take(32), certificate.varint()
    suite, kem = certificate.take(1), certificate.bytes()
    parts = (b"sheaf1/kem-sig", kem_device, u64(counter), suite, kem)
    verify(signing, certificate.take(64), *parts)
    parts = (b"sheaf1/possession", v["user_id"], v["second_certificate"])
    verify(signing, v["second_possession"], *parts)
    card = load("identity")["card"].removeprefix("sheaf:")
    card = base64.urlsafe_b64decode(card + "=" * (-len(card) % 4))
    same(card, v["user_log"] + b"\x00" + b"\x03Ada")


def check_operations():
    v = load("user-operations")
    for op in v["operations"]:
        statement_id(b"sheaf1/identity-op", op)
        key = "recovery_signing_public" if op["body"] == "RotateRecovery" else "signing_public"
        signature, key = bytes.fromhex(op["signature"]), bytes.fromhex(v[key])
        verify(key, signature, b"sheaf1/identity-op-sig", bytes.fromhex(op["bytes"]))
    v = load("operations")
    for op in v["operations"]:
        statement_id(b"sheaf1/op", op)
        statement, signature = bytes.fromhex(op["bytes"]), bytes.fromhex(op["signature"])
        verify(bytes.fromhex(v["signing_public"]), signature, b"sheaf1/op-sig", statement)
        if op["founded"]:
            same(H(b"sheaf1/conv", statement).hex(), op["founded"])


def check_epoch():
    v = load("epoch")
    raw = {k: bytes.fromhex(x) for k, x in v.items() if isinstance(x, str)}
    conversation, author = raw["conversation"], raw["author"]
    s, t = raw["secret"][:32], raw["secret"][32:]
    c = KDF(s, conversation, b"sheaf1/epoch-commit")
    same(c, raw["commitment"])
    e = H(b"sheaf1/epoch-id", conversation, author, u64(v["seq"]), c)
    same(e, raw["epoch"])
    same(KDF(s, e, b"sheaf1/blob"), raw["blob_key"])
    same(KDF(t, e, b"sheaf1/eph"), raw["ephemeral_key"])
    capability = public(KDF(s, e, b"sheaf1/cap"))
    same(capability, raw["capability"])
    same(H(b"sheaf1/topic", capability), raw["topic"])
    access = (b"sheaf1/access", bytes([3]) * 32, bytes([4]) * 32, b"\x01", raw["topic"])
    verify(capability, raw["access_proof"], *access)
    chain, _, _ = box_open(KDF(s, e, b"sheaf1/chain"), b"sheaf1/chain-box", conversation + e, raw["chain"])
    same(chain, b"\x01" + raw["chained_epoch"] + raw["chained_secret"])
    second = bytes.fromhex(v["secrets"][1])
    device = H(b"sheaf1/dev", public(second[1:33]))
    aad = device + u64(0) + H(*map(bytes.fromhex, v["parents"]))
    forward = Reader(raw["forward"])
    same(forward.take(96), e + c + device)
    same(forward.varint(), 0)
    opened = hpke_open(kem_secret(second), forward.bytes(), b"sheaf1/forward" + conversation + e + c, aad)
    same(opened, s)
    rekey = Reader(raw["rekey"])
    same(rekey.take(32), c)
    for _ in range(rekey.varint()):
        to, _, sealed = rekey.take(32), rekey.varint(), rekey.bytes()
        if to == device:
            info = b"sheaf1/seal" + conversation + e + c
            same(hpke_open(kem_secret(second), sealed, info, aad), s + t)


def check_envelopes():
    v = load("envelope")
    conversation, e, topic = (bytes.fromhex(v[k]) for k in ("conversation", "epoch", "topic"))
    key = KDF(bytes.fromhex(v["secret"])[:32], e, b"sheaf1/env")
    for envelope in v["envelopes"]:
        wire, inner = bytes.fromhex(envelope["wire"]), bytes.fromhex(envelope["inner"])
        plain, header_hash, com = box_open(key, b"sheaf1/env", conversation + e + topic, wire)
        content, signature = plain[:-64], plain[-64:]
        same(len(wire), padme(len(inner) + 64 + 74))
        same(content, inner.ljust(len(content), b"\x00"))
        parts = (b"sheaf1/env-sig", header_hash, com, content)
        verify(bytes.fromhex(v["signing_public"]), signature, *parts)
        same(H(wire).hex(), envelope["item"])


def check_inbox():
    v = load("inbox")
    seed, body = bytes.fromhex(v["inbox_seed"]), bytes.fromhex(v["body"])
    topic = H(b"sheaf1/topic", public(KDF(seed, b"", b"sheaf1/inbox-cap")))
    same(topic.hex(), v["inbox_topic"])
    message = next(m for m in v["messages"] if m["suite"] == 1)
    secrets, record = bytes.fromhex(message["secrets"]), bytes.fromhex(message["records"][0])
    device = H(b"sheaf1/dev", public(secrets[1:33]))
    info = b"sheaf1/inbox" + device + u64(0)
    plain = hpke_open(kem_secret(secrets), record[20:], info, record[:20])
    digest, whole = plain[:32], plain[32:]
    same(digest, H(b"sheaf1/inbox-whole", whole))
    same(whole[64:-64], (bytes([len(body)]) + body).ljust(len(whole) - 128, b"\x00"))
    same(len(whole), padme(64 + 1 + len(body) + 64))
    parts = (b"sheaf1/inbox-sig", device, record[2:18], whole[:64], H(b"sheaf1/inbox-body", body))
    verify(bytes.fromhex(v["sender_public"]), whole[-64:], *parts)


def check_linking():
    v = load("linking")
    code = v["code"].removeprefix("sheaf-link:")
    code = base64.urlsafe_b64decode(code + "=" * (-len(code) % 4))
    rendezvous, pk, psk = code[1:17], code[18:50], code[50:82]
    secret = keystream(1, 32)
    key = X25519PrivateKey.from_private_bytes(secret).public_key()
    same(key.public_bytes(Encoding.Raw, PublicFormat.Raw), pk)
    topic = H(b"sheaf1/topic", public(KDF(psk, rendezvous, b"sheaf1/link-cap")))
    same(topic.hex(), v["topic"])
    request, reply, reveal = (bytes.fromhex(v[k]) for k in ("request", "reply", "reveal"))
    opened, export = hpke_setup(secret, request[4:36], b"sheaf1/link" + rendezvous, psk, rendezvous)
    request_body = opened(request[36:], request[:4])

    def channel(label, counter, message):
        aad = b"sheaf1/link-channel" + rendezvous + message[:4]
        return xchacha_open(export(label), bytes(16) + u64(counter), message[4:], aad)

    reply_body = channel(b"sheaf1/link-to-new", 0, reply)
    reveal_body = channel(b"sheaf1/link-to-existing", 0, reveal)
    certificate, commitment = request_body[:-32], request_body[-32:]
    random, possession = reveal_body[:32], reveal_body[32:]
    same(H(b"sheaf1/sas-commit", random, certificate), commitment)
    same(possession.hex(), v["possession"])
    parts = (b"sheaf1/possession", reply_body[:32], certificate)
    verify(certificate[32:64], possession, *parts)
    items = (code, request, request_body, reply, reply_body)
    transcript = H(b"sheaf1/link-transcript", *(u32(len(item)) + item for item in items))
    number = int.from_bytes(KDF(random + reply_body[-32:], transcript, b"sheaf1/sas", 8), "big")
    same(f"{number % 10**6:06}", v["digits"])
    account = channel(b"sheaf1/link-to-new", 1, bytes.fromhex(v["account"][0]))
    same(account, (u32(7) + b"account").ljust(256, b"\x00"))


def check_vault():
    v = load("vault")
    header = Reader(bytes.fromhex(v["header"])[1:])
    masters = []
    for _ in range(header.varint()):
        start = header.at
        if header.varint() == 0:
            salt = header.take(16)
            memory, passes, lanes = header.varint(), header.varint(), header.varint()
            stretch = Argon2id(salt=salt, length=32, iterations=passes, lanes=lanes, memory_cost=memory)
            key = stretch.derive(v["passphrase"].encode())
        else:
            key = KDF(bytes.fromhex(v["key_file"]), header.take(16), b"sheaf1/slot-key-file")
        lock = header.data[start : header.at]
        masters.append(box_open(key, b"sheaf1/slot", lock, header.bytes())[0])
    same(masters[0], masters[1])
    kind, name = bytes([v["kind"]]), bytes.fromhex(v["name"])
    record = bytes.fromhex(v["record"])
    key = KDF(masters[0], kind, b"sheaf1/store-value")
    aad = b"sheaf1/store" + kind + name + record[:2]
    same(xchacha_open(key, record[2:26], record[26:], aad).hex(), v["value"])
    key = KDF(masters[0], kind, b"sheaf1/store-name")
    same(hmac.digest(key, b"key", "sha256")[:16].hex(), v["record_name"])
    generation = u64(v["erasable_generation"])
    locked, lock_name = bytes.fromhex(v["erasable_locked"]), b"\xfc" + b"erasable" + generation
    key = KDF(masters[0], b"\xfc", b"sheaf1/store-value")
    aad = b"sheaf1/store" + lock_name + locked[:2]
    erasable = xchacha_open(key, locked[2:26], locked[26:], aad)
    kind, name = bytes([v["erasable_kind"]]), bytes.fromhex(v["erasable_name"])
    record = bytes.fromhex(v["erasable_record"])
    same(record[:10], b"\x01\x01" + generation)
    key = KDF(masters[0] + erasable, kind, b"sheaf1/store-erasable")
    aad = b"sheaf1/store" + kind + name + record[:10]
    same(xchacha_open(key, record[10:34], record[34:], aad).hex(), v["erasable_value"])


def check_names():
    v = load("names")

    def grouped(digest, digits):
        text = f"{int.from_bytes(digest, 'big') % 10**digits:0{digits}}"
        return " ".join(text[i : i + 5] for i in range(0, digits, 5))

    a, b = bytes([1]) * 32, bytes([2]) * 32
    same(grouped(H(b"sheaf1/sn", a, b), 60), v["safety_number"])
    same(grouped(H(b"sheaf1/sn", a), 30), v["fingerprint"])
    conversation = bytes([0xC0]) * 32
    actor = H(b"sheaf1/actor", a, conversation, u32(3), bytes([4]) * 16)[:16]
    same(actor.hex(), v["actor"])
    same(H(b"sheaf1/epoch-id", conversation, a, u64(7), b).hex(), v["epoch"])
    same(keystream(1, 16).hex(), v["generator"])


def check_statement():
    v = load("statement")
    relay, topic = bytes.fromhex(v["relay"]), bytes.fromhex(v["topic"])
    first = H(b"sheaf1/history", bytes(32), topic, u64(1), H(b"one"))
    expected = [first] + [H(b"sheaf1/history", first, topic, u64(2), H(r)) for r in (b"two", b"six")]
    for n, history, signature, ours in zip(v["sequences"], v["histories"], v["statements"], expected):
        same(ours.hex(), history)
        place = (topic, u64(v["log"]), u64(n))
        verify(relay, bytes.fromhex(signature), b"sheaf1/statement", *place, ours)
    place = (topic, u64(v["log"]), u64(2))
    verify(relay, bytes.fromhex(v["receipt"]), b"sheaf1/receipt", *place, H(b"two"))
    piece = v["evidence"].removeprefix("sheaf-evidence:")
    piece = Reader(base64.urlsafe_b64decode(piece + "=" * (-len(piece) % 4)))
    same(piece.take(34), b"\x01" + relay + b"\x00")
    for history, signature in list(zip(v["histories"], v["statements"]))[1:]:
        same(piece.take(32), topic)
        same((piece.varint(), piece.varint()), (v["log"], 2))
        same(piece.take(32).hex(), history)
        same(piece.bytes().hex(), signature)


if __name__ == "__main__":
    for check in (
        check_identity,
        check_operations,
        check_epoch,
        check_envelopes,
        check_inbox,
        check_linking,
        check_vault,
        check_names,
        check_statement,
    ):
        check()
    print(f"{CHECKS} values agree")
