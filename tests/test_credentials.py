"""Content Credentials of single files: signed, read back by the library's own reader, and broken by any change."""

import json
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import c2pa
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from novai_web.config import Settings
from novai_web.engines import credentials, ffmpeg
from novai_web.engines.credentials import ChainUnusable, Input, Statement, chain
from novai_web.engines.credentials.chain import PEM_BYTES_MAX
from tests import commands, media

AI = "http://cv.iptc.org/newscodes/digitalsourcetype/"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(_env_file=None, data=tmp_path / "data")


def said(name: str = "picture", mime: str = "image/png", **given: object) -> Statement:
    return Statement(**{"title": name, "mime": mime, "origin": "made", "tool": "A Tool", **given})


def manifests(path: Path, mime: str) -> dict:
    """What the library's own reader says, without any of our settings."""
    with path.open("rb") as file, c2pa.Reader(mime, file) as reader:
        return json.loads(reader.json())


def active(store: dict) -> dict:
    return store["manifests"][store["active_manifest"]]


def actions(manifest: dict) -> list[dict]:
    found = [each for each in manifest["assertions"] if each["label"].startswith("c2pa.actions")]
    return found[0]["data"]["actions"]


KINDS = [
    ("a.png", "image/png"),
    ("a.jpg", "image/jpeg"),
    ("a.webp", "image/webp"),
    ("a.mp3", "audio/mpeg"),
    ("a.wav", "audio/wav"),
    ("a.m4a", "audio/mp4"),
    ("a.flac", "audio/flac"),
    ("a.mp4", "video/mp4"),
    ("a.mov", "video/quicktime"),
]


def file_of(folder: Path, name: str, mime: str) -> Path:
    make = {"image": media.image, "audio": media.audio, "video": media.video}[mime.split("/")[0]]
    return make(folder / name)


@pytest.mark.parametrize(("name", "mime"), KINDS, ids=[name for name, _ in KINDS])
def test_a_file_of_each_kind_says_who_made_it_and_is_trusted_here(tmp_path, settings, name, mime):
    path = credentials.sign(file_of(tmp_path, name, mime), said(name, mime, agent="fal: a model"), settings)
    report = credentials.read(path, settings)
    assert (report.state, report.origin, report.title) == ("trusted", "made", name)
    assert report.generator.startswith("NOVAI ") and not report.problems
    assert report.signer == chain(settings).signer
    store = manifests(path, mime)
    assert store["validation_state"] == "Valid"  # elsewhere nobody knows our root
    (created,) = actions(active(store))
    assert created["action"] == "c2pa.created" and created["digitalSourceType"] == f"{AI}trainedAlgorithmicMedia"
    assert created["softwareAgent"]["name"] == "fal: a model"
    assert "thumbnail" not in active(store)


@pytest.mark.parametrize(("name", "mime"), KINDS, ids=[name for name, _ in KINDS])
def test_a_byte_changed_after_signing_is_noticed(tmp_path, settings, name, mime):
    path = credentials.sign(file_of(tmp_path, name, mime), said(name, mime), settings)
    content = bytearray(path.read_bytes())
    at = content.find(b"mdat") + 100 if b"mdat" in content and mime.startswith(("video", "audio/mp4")) else -20
    content[at] ^= 0xFF
    path.write_bytes(content)
    report = credentials.read(path, settings)
    assert report.state == "invalid" and any("mismatch" in each for each in report.problems)


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ("made", [("c2pa.created", "trainedAlgorithmicMedia")]),
        ("computed", [("c2pa.created", "algorithmicMedia")]),
        ("composite", [("c2pa.opened", None), ("c2pa.edited", "compositeWithTrainedAlgorithmicMedia")]),
        ("edited", [("c2pa.opened", None), ("c2pa.edited", "humanEdits"), ("c2pa.placed", None)]),
    ],
)
def test_the_actions_say_how_much_of_it_an_ai_made(tmp_path, settings, origin, expected):
    opens = origin in ("composite", "edited")
    inputs = [Input("video", "clip.mp4", "parentOf" if opens else "inputTo", "video/mp4", "1" * 64)]
    inputs.append(Input("other", "b.png", "componentOf" if origin == "edited" else "inputTo", "image/png", "2" * 64))
    path = credentials.sign(media.image(tmp_path / "a.png"), said(origin=origin, inputs=inputs), settings)
    manifest = active(manifests(path, "image/png"))
    told = [
        (each["action"], (each.get("digitalSourceType") or "").rpartition("/")[2] or None) for each in actions(manifest)
    ]
    assert told == expected
    assert [each["title"] for each in manifest["ingredients"]] == ["clip.mp4", "b.png"]
    assert credentials.read(path, settings).state == "trusted"
    (ours,) = [each["data"] for each in manifest["assertions"] if each["label"] == "app.novai.generation"]
    assert [(each["role"], each["sha256"]) for each in ours["inputs"]] == [("video", "1" * 64), ("other", "2" * 64)]


def test_what_an_input_says_of_itself_is_carried_on(tmp_path, settings):
    first = credentials.sign(media.image(tmp_path / "first.png"), said("first"), settings)
    given = Input("image", "first", "inputTo", "image/png", "1" * 64)
    for is_ours in (True, False):
        kept = credentials.keep(0, given, first, settings, is_ours=is_ours)
        assert kept
        second = media.image(tmp_path / f"second{is_ours}.png", size=(80, 60))
        inputs = [Input(given.role, given.title, given.relationship, given.mime, given.sha256, kept)]
        path = credentials.sign(second, said("second", inputs=inputs), settings)
        store = manifests(path, "image/png")
        assert {each["title"] for each in store["manifests"].values()} == {"first", "second"}
        assert credentials.read(path, settings).state == "trusted"


def test_a_file_that_says_nothing_and_one_that_cannot_are_told_apart(tmp_path, settings):
    with pytest.raises(credentials.NoCredentials):
        credentials.read(media.image(tmp_path / "a.png"), settings)
    for name in ("a.webm", "a.ogg"):
        path = media.vp9(tmp_path / name, frames=5) if name.endswith("webm") else media.audio(tmp_path / name)
        with pytest.raises(credentials.CannotCarry, match="no place"):
            credentials.read(path, settings)
        assert not credentials.can_carry(f"{'video' if name.endswith('webm') else 'audio'}/{name[2:]}")
    with pytest.raises(credentials.CannotCarry):
        credentials.sign(path, said(mime="audio/ogg"), settings)


def test_weights_have_their_credentials_beside_them(tmp_path, settings):
    path, manifest = tmp_path / "low.safetensors", tmp_path / "low.safetensors.c2pa"
    path.write_bytes(b"weights" * 1000)
    statement = said("My model", "application/octet-stream", agent="fal: a trainer", more={"files": {"high": "1" * 64}})
    manifest.write_bytes(credentials.beside(path, statement, settings))
    report = credentials.read(path, settings, manifest)
    assert (report.state, report.origin, report.title) == ("trusted", "made", "My model")
    path.write_bytes(b"Weights" + b"weights" * 999)
    assert credentials.read(path, settings, manifest).state == "invalid"


def test_a_file_that_cannot_be_signed_is_left_as_it_was(tmp_path, settings):
    path = tmp_path / "broken.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"nothing of a picture" * 9)
    before = path.read_bytes()
    with pytest.raises(credentials.SigningFailed):
        credentials.sign(path, said(), settings)
    assert path.read_bytes() == before and list(tmp_path.glob("signed-*")) == []


# --- In the room of a variant --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def variants(tmp_path_factory) -> list[tuple[bytes, credentials.Pieces]]:
    """Two of the same picture with different sounds, and the pieces that the engine says they consist of."""
    folder = tmp_path_factory.mktemp("variants")
    clip, made = media.video(folder / "clip.mp4"), []
    batch = [ffmpeg.Variant(n, clip, sound, "A hook", "v.mp4") for n, sound in enumerate((None, _song(folder)))]

    def done(n: int, path: Path, checked: ffmpeg.Checked) -> None:
        made.append((path.read_bytes(), checked.pieces))

    plan = ffmpeg.plan(batch, ffmpeg.RenderSettings())
    ffmpeg.render(plan, folder / "made", ffmpeg.Limits(), lambda _: None, done, lambda n, why: pytest.fail(why))
    return made


def _song(folder: Path) -> Path:
    return media.audio(folder / "song.mp3")


@pytest.fixture
def finished(tmp_path, variants) -> Path:
    path = tmp_path / "v.mp4"
    path.write_bytes(variants[0][0])
    return path


def packets(path: Path) -> list[str]:
    import av

    with av.open(str(path)) as container:
        return [sha256(bytes(packet)).hexdigest() for packet in container.demux() if packet.size]


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("known", [True, False], ids=["pieces known", "pieces unknown"])
def test_a_variant_is_signed_where_it_is_and_its_packets_stay(tmp_path, variants, settings, number, known):
    path = tmp_path / "v.mp4"
    content, pieces = variants[number]
    path.write_bytes(content)
    before = packets(path)
    statement = said("v.mp4", "video/mp4", origin="edited")
    assert credentials.sign(path, statement, settings, pieces if known else ()) == path
    signed = path.read_bytes()
    assert len(signed) == len(content) and packets(path) == before
    assert [signed[at : at + 4] for at in _tops(signed)] == [b"ftyp", b"uuid", b"free", b"moov", b"mdat"]
    assert credentials.read(path, settings).state == "trusted"
    assert manifests(path, "video/mp4")["validation_state"] == "Valid"
    moov, mdat = (_tops(signed)[number] for number in (3, 4))
    for at in (moov + 50, mdat + 6, (mdat + len(signed)) // 2, len(signed) - 1):
        path.write_bytes(signed[:at] + bytes([signed[at] ^ 0xFF]) + signed[at + 1 :])
        assert credentials.read(path, settings).state == "invalid", at


def test_a_manifest_that_was_damaged_is_said_to_be(finished, settings):
    path = credentials.sign(finished, said("v.mp4", "video/mp4"), settings)
    content = path.read_bytes()
    at = content.find(b"c2pa.hash.bmff") + 60
    path.write_bytes(content[:at] + b"\xff" * 20 + content[at + 20 :])
    with pytest.raises(credentials.Damaged, match="damaged"):
        credentials.read(path, settings)


def test_pieces_that_are_not_those_of_the_file_make_no_valid_credentials(finished, variants, settings):
    wrong = [(length, "0" * 64) for length, _ in variants[0][1]]
    path = credentials.sign(finished, said("v.mp4", "video/mp4", origin="edited"), settings, wrong)
    assert credentials.read(path, settings).state == "invalid"


def _tops(data: bytes) -> list[int]:
    found, at = [], 0
    while at < len(data):
        found.append(at + 4)
        at += int.from_bytes(data[at : at + 4], "big")
    return found


def test_a_variant_whose_manifest_is_longer_than_its_room_is_signed_in_a_copy(finished, settings):
    inputs = [Input("audio", f"{n} {'long' * 100}", "componentOf", "audio/mpeg", "1" * 64) for n in range(40)]
    path = credentials.sign(finished, said("v.mp4", "video/mp4", origin="edited", inputs=inputs), settings)
    assert path != finished and finished.stat().st_size < path.stat().st_size
    assert credentials.read(path, settings).state == "trusted"


def test_a_file_with_a_second_name_is_never_signed_where_it_is(finished, tmp_path, settings):
    """The store may link what it is given."""
    (tmp_path / "stored").hardlink_to(finished)
    before = finished.read_bytes()
    path = credentials.sign(finished, said("v.mp4", "video/mp4", origin="edited"), settings)
    assert path != finished and finished.read_bytes() == before == (tmp_path / "stored").read_bytes()


# --- Whose signature -----------------------------------------------------------------------------------------------


def test_the_chain_is_made_once_whoever_begins_and_its_key_is_for_nobody_else(settings):
    code = f"""if True:
        from pathlib import Path
        from novai_web.config import Settings
        from novai_web.engines.credentials import chain
        print(chain(Settings(_env_file=None, data=Path({str(settings.data)!r}))).signer)"""

    def told(_: int) -> str:
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    with ThreadPoolExecutor(4) as four:
        assert len(set(four.map(told, range(4)))) == 1
    folder = settings.data / "credentials"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "key.pem").stat().st_mode) == 0o600
    assert sorted(path.name for path in folder.iterdir()) == ["chain.pem", "key.pem", "root.pem"]
    assert [path.name for path in settings.data.iterdir()] == ["credentials"]
    assert chain(settings).until > datetime.now(UTC) + timedelta(days=25 * 365)


def test_a_chain_that_the_settings_name_signs_and_older_files_stay_trusted(tmp_path, settings):
    old = credentials.sign(media.image(tmp_path / "old.png"), said("old"), settings)
    for key in (ec.generate_private_key(ec.SECP384R1()), ed25519.Ed25519PrivateKey.generate()):
        given = with_chain(settings, tmp_path, key)
        new = credentials.sign(media.image(tmp_path / "new.png"), said("new"), given)
        report = credentials.read(new, given)
        assert (report.state, report.signer) == ("trusted", "Somebody")
        assert credentials.read(old, given).state == "trusted"
        assert credentials.read(new, settings).state == "valid"  # who does not know them trusts nobody


@pytest.mark.parametrize("wrong", ["missing", "not pem", "another's key", "huge"])
def test_a_chain_that_cannot_be_used_is_a_sentence(tmp_path, settings, wrong):
    given = with_chain(settings, tmp_path, ec.generate_private_key(ec.SECP256R1()))
    key = Path(given.credentials_key)
    if wrong == "missing":
        key.unlink()
    elif wrong == "not pem":
        key.write_text("nothing")
    elif wrong == "huge":
        Path(given.credentials_chain).write_bytes(b"x" * (PEM_BYTES_MAX + 1))
    else:
        key.write_bytes(pem(ec.generate_private_key(ec.SECP256R1())))
    with pytest.raises(ChainUnusable, match=r"\.pem"):
        chain(given)


def pem(key) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def with_chain(settings: Settings, folder: Path, key) -> Settings:
    """Settings that name a chain of somebody else's: an authority, and a leaf with this key."""
    root = ec.generate_private_key(ec.SECP256R1())
    above = certificate("An Authority", root.public_key(), "An Authority", root, is_ca=True)
    leaf = certificate("Somebody", key.public_key(), "An Authority", root, is_ca=False)
    paths = {part: folder / f"{type(key).__name__}-{part}.pem" for part in ("chain", "key")}
    paths["chain"].write_bytes(b"".join(each.public_bytes(serialization.Encoding.PEM) for each in (leaf, above)))
    paths["key"].write_bytes(pem(key))
    return settings.model_copy(update={f"credentials_{part}": str(path) for part, path in paths.items()})


NEVER = (
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "encipher_only",
    "decipher_only",
)


def certificate(name: str, public, by: str, key, *, is_ca: bool) -> x509.Certificate:
    def called(text: str) -> x509.Name:
        names = {NameOID.ORGANIZATION_NAME: "Else", NameOID.COMMON_NAME: text}
        return x509.Name([x509.NameAttribute(oid, value) for oid, value in names.items()])

    now = datetime.now(UTC)
    usage = x509.KeyUsage(
        digital_signature=not is_ca, key_cert_sign=is_ca, crl_sign=is_ca, **dict.fromkeys(NEVER, False)
    )
    above = x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
    builder = (
        x509.CertificateBuilder(called(by), called(name), public, x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=999))
        .add_extension(x509.BasicConstraints(is_ca, None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(above, critical=False)
    )
    if not is_ca:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
    return builder.sign(key, hashes.SHA256())


# --- The command ---------------------------------------------------------------------------------------------------


def test_the_command_says_what_a_file_says_and_whether_it_holds(tmp_path, settings):
    path = credentials.sign(media.image(tmp_path / "a.png"), said("My picture", agent="fal: a model"), settings)
    here = {"NOVAI_DATA": str(settings.data)}
    told = commands.flask("credentials", "verify", path, **here)
    assert told.returncode == 0, told.stderr
    assert "trusted" in told.stdout and "My picture" in told.stdout and "made by an AI" in told.stdout
    content = bytearray(path.read_bytes())
    content[-20] ^= 0xFF
    path.write_bytes(content)
    told = commands.flask("credentials", "verify", path, **here)
    assert told.returncode == 1 and "changed after it was signed" in told.stdout
    told = commands.flask("credentials", "verify", media.image(tmp_path / "b.png"), **here)
    assert told.returncode == 1 and "no Content Credentials" in told.stderr
    told = commands.flask("credentials", "signer", **here)
    assert told.returncode == 0 and chain(settings).signer in told.stdout
