"""Every setting NOVAI has: its default, its type and its meaning on one line, read once."""

import secrets
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Literal, Self

from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

MEGABYTE = 1024 * 1024
GIGABYTE = 1024 * MEGABYTE

PicsiStatus = Literal["running", "done", "failed", "refused", "cancelled"]


def _named(*names: str) -> AliasChoices:
    """A setting that keeps a name the world already knows, such as DATABASE_URL."""
    return AliasChoices(*names)


class Pace(BaseModel):
    """How fast jobs of one tool may begin: so many under way at once, so many begun a second; None: no limit."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    parallel: int | None = Field(None, ge=1)
    starts_per_second: float | None = Field(None, gt=0, le=1000)


class Settings(BaseSettings):
    """Read from the environment and from `.env`; names are `NOVAI_` + the field unless they say otherwise."""

    model_config = SettingsConfigDict(
        env_prefix="NOVAI_", env_file=".env", extra="ignore", frozen=True, populate_by_name=True
    )

    # Where things are
    data: Path = Field(Path("data"), description="Folder of the embedded servers, local files and scratch.")
    port: int = Field(8000, ge=1, le=65535, description="Port of the web server.")
    host: str = Field("127.0.0.1", description="Address the web server listens on.")
    public_url: str = Field("", description="Address people reach this installation at; sets Secure cookies if https.")
    database_url: str = Field(
        "", validation_alias=_named("DATABASE_URL"), description="Postgres; empty: the embedded one."
    )
    redis_url: str = Field("", validation_alias=_named("REDIS_URL"), description="Redis; empty: the embedded one.")
    supabase_url: str = Field(
        "", validation_alias=_named("SUPABASE_URL"), description="Supabase project; empty: files on local disk."
    )
    supabase_key: SecretStr = Field(
        SecretStr(""), validation_alias=_named("SUPABASE_SERVICE_ROLE_KEY"), description="Its service role key."
    )
    supabase_bucket: str = Field(
        "novai", validation_alias=_named("SUPABASE_BUCKET"), description="Bucket for all files; made if missing."
    )
    secret_key: SecretStr = Field(
        SecretStr(""),
        validation_alias=_named("SECRET_KEY"),
        description="Signs sessions and tokens; empty: kept in the data folder.",
    )
    log_format: Literal["plain", "json"] = Field("plain", description="How log lines are written.")
    proxies: int = Field(0, ge=0, le=5, description="Trusted reverse proxies in front of the web server.")
    metrics_token: SecretStr = Field(
        SecretStr(""), description="Whoever shows this as a bearer token may read /metrics; empty: administrators only."
    )

    # People
    sign_up: Literal["open", "closed"] = Field("closed", description="Who may make an account after the first.")
    access_token_seconds: int = Field(900, ge=60, description="Life of an API access token.")
    refresh_token_days: int = Field(30, ge=1, description="Life of an API refresh token.")
    password_rounds: int = Field(3, ge=1, description="Passes of Argon2id over its memory for one password.")
    password_memory_kib: int = Field(65_536, ge=32, description="Memory of Argon2id for one password, in KiB.")
    sign_in_limit: str = Field(
        "5 per 15 minutes", description="Failed or new sign-ins and sign-ups, per address and per e-mail."
    )
    api_limit: str = Field(
        "100 per 15 minutes", description="API requests of one account that start or change something."
    )
    read_limit: str = Field("600 per minute", description="API requests of one account that only read.")
    upload_limit: str = Field(
        "1000 per 15 minutes", description="Files one account may send; the parts of one file count once."
    )

    # Credits
    starting_credits: int = Field(1000, ge=0, description="Granted to the first administrator.")
    sign_up_credits: int = Field(0, ge=0, description="Granted to everyone who signs up later.")
    account_daily_credits: int = Field(1000, ge=0, description="What one account may spend a day.")
    daily_cost_limit_cents: int = Field(
        10_000,
        ge=0,
        validation_alias=_named("DAILY_COST_LIMIT_CENTS"),
        description="What the whole installation may spend a day.",
    )
    variants_price_credits: int = Field(0, ge=0, description="Credits for one variant.")

    # Vendors, who are paid for their runs. Without its key a vendor is the sandbox, and without that it is not there.
    fal_key: SecretStr = Field(
        SecretStr(""), validation_alias=_named("FAL_KEY"), description="Key of fal, as ID:SECRET."
    )
    fal_queue_url: str = Field("https://queue.fal.run", description="Where fal takes requests.")
    fal_rest_url: str = Field("https://rest.fal.ai", description="Where fal takes uploads.")
    fal_api_url: str = Field("https://api.fal.ai/v1", description="Where fal lists the requests that have finished.")
    fal_jwks_url: str = Field(
        "https://rest.fal.ai/.well-known/jwks.json", description="The keys with which fal signs its webhooks."
    )
    fal_hosts: tuple[str, ...] = Field(
        ("v3.fal.media", "v3b.fal.media", ".fal.media"),
        description="Hosts that results of fal are fetched from, as JSON; with a dot in front: all below that name.",
    )
    fal_trainer_model: str = Field("fal-ai/wan-22-image-trainer", description="Trains models at fal.")
    fal_picture_model: str = Field(
        "fal-ai/wan/v2.2-a14b/text-to-image/lora", description="Makes pictures with a trained model at fal."
    )
    fal_swap_model: str = Field("half-moon-ai/ai-face-swap/faceswapvideo", description="Swaps faces in videos at fal.")
    fal_seconds_max: int = Field(
        7200,
        ge=1,
        description="Longest run at fal that costs much. When nobody knows of one, no other is started before that.",
    )
    gemini_key: SecretStr = Field(
        SecretStr(""), validation_alias=_named("GEMINI_API_KEY"), description="Key of Google Gemini."
    )
    gemini_url: str = Field("https://generativelanguage.googleapis.com", description="Where Gemini takes requests.")
    gemini_image_model: str = Field("gemini-nano-banana-2.1", description="Makes pictures at Gemini.")
    wavespeed_key: SecretStr = Field(
        SecretStr(""), validation_alias=_named("WAVESPEED_API_KEY"), description="Key of WaveSpeed."
    )
    wavespeed_url: str = Field("https://api.wavespeed.ai", description="Where WaveSpeed takes requests.")
    wavespeed_hosts: tuple[str, ...] = Field(
        ("d1q70pf5vjeyhc.cloudfront.net", "d11ewybssaphwx.cloudfront.net", ".wavespeed.ai"),
        description="Hosts that results of WaveSpeed are fetched from, as JSON; with a dot in front: all below.",
    )
    wavespeed_swap_model: str = Field("wavespeed-ai/video-face-swap", description="Swaps faces in videos at WaveSpeed.")
    wavespeed_webhook_secret: SecretStr = Field(
        SecretStr(""), description="What WaveSpeed signs its webhooks with (whsec_…); empty: none are asked for."
    )
    picsi_key: SecretStr = Field(
        SecretStr(""), validation_alias=_named("PICSI_KEY"), description="Key of Picsi, if you have a contract."
    )
    picsi_url: str = Field("", description="Where Picsi takes requests; its contract is not public, so ask Picsi.")
    picsi_submit_path: str = Field("/video/face-swap", description="Path at Picsi that starts a swap.")
    picsi_poll_path: str = Field("/jobs/{id}", description="Path at Picsi that says how a swap is doing.")
    picsi_upload_path: str = Field("/uploads", description="Path at Picsi that a file is sent to.")
    picsi_model: str = Field("inswapper_dax", description="Swaps faces in videos at Picsi.")
    picsi_statuses: dict[str, PicsiStatus] = Field(
        {
            "queued": "running",
            "processing": "running",
            "completed": "done",
            "failed": "failed",
            "refused": "refused",
            "cancelled": "cancelled",
        },
        description="What each status of Picsi means, as JSON: running, done, failed, refused or cancelled.",
    )
    picsi_hosts: tuple[str, ...] = Field(
        (), description="Hosts that results of Picsi are fetched from, as JSON; empty: only where it takes requests."
    )
    sandbox_url: str = Field(
        "", description="The sandbox that stands in for vendors without a key; `make run` starts it by itself."
    )
    sandbox_seconds: float = Field(3.0, ge=0, le=3600, description="How long a run in the sandbox takes.")
    price_markup: float = Field(
        1.5, ge=0, le=100, description="What people pay for each cent that a vendor takes, rounded up to whole credits."
    )

    # Content Credentials
    credentials_chain: str = Field(
        "", description="PEM file of the certificates that sign outputs, ours first; empty: made at the first run."
    )
    credentials_key: str = Field("", description="PEM file of their private key.")

    # Library
    upload_bytes_max: int = Field(2 * GIGABYTE, ge=1, description="Largest file accepted.")
    account_bytes_max: int = Field(200 * GIGABYTE, ge=1, description="Storage one account may fill.")
    disk_free_bytes_min: int = Field(
        GIGABYTE, ge=0, description="Below this much free disk, uploads and jobs are refused."
    )
    media_seconds_max: int = Field(2 * 3600, ge=1, description="Longest video or audio accepted.")
    image_pixels_max: int = Field(64_000_000, ge=1, description="Largest picture accepted, in pixels.")
    trash_days: int = Field(30, ge=0, description="How long deleted things can be restored.")
    batch_hours: int = Field(24, ge=1, description="How long a batch's outputs live unless kept.")
    samples_at_start: bool = Field(
        True, description="`make run` draws the sample media when it starts for the first time, behind everything else."
    )
    variants_max: int = Field(2000, ge=1, description="Most variants in one batch.")

    # Limits of the queue
    queued_jobs_per_account_max: int = Field(2000, ge=1, description="Jobs one account may have under way; more: 429.")
    queued_jobs_max: int = Field(20_000, ge=1, description="Jobs all accounts may have under way; more: 503.")
    jobs_parallel_per_account: int = Field(
        0, ge=0, description="Jobs of one account that may have begun and not ended; 0: as many as workers take."
    )
    paces: dict[str, Pace] = Field(
        {}, description='Limits by tool, as JSON: {"TOOL": {"parallel": 2, "starts_per_second": 0.5}}.'
    )

    # Workers
    cpu_workers: int = Field(0, ge=0, description="Worker processes for rendering; 0: one per core.")
    io_workers: int = Field(2, ge=1, description="Worker processes for uploads and vendors.")
    lease_seconds: int = Field(60, ge=2, description="A job whose worker is silent this long is taken over.")
    echo: bool = Field(False, description="Offer the tool that only proves that jobs work.")
    echo_vendor_url: str = Field("", description="The sandbox vendor that this tool may ask: novai_web.sandbox.runs.")
    render_memory_bytes: int = Field(
        6 * GIGABYTE, ge=256 * MEGABYTE, description="Address space a media process may use."
    )
    render_frame_bytes: int = Field(
        768 * MEGABYTE,
        ge=0,
        description="Decoded pictures one render may keep; a clip that needs more is decoded again instead.",
    )
    sound_shelf_bytes: int = Field(
        256 * MEGABYTE,
        ge=0,
        description="Finished sounds kept on a worker's disk, so that no other job makes them again; 0: none.",
    )

    @field_validator("database_url")
    @classmethod
    def _with_our_driver(cls, url: str) -> str:
        """Hosts hand out `postgres://` and `postgresql://`; both mean the driver that is installed."""
        scheme, separator, rest = url.partition("://")
        return f"postgresql+psycopg://{rest}" if separator and scheme in ("postgres", "postgresql") else url

    @field_validator("fal_key", "gemini_key", "wavespeed_key", "picsi_key", "wavespeed_webhook_secret")
    @classmethod
    def _can_be_sent(cls, key: SecretStr) -> SecretStr:
        """A key travels in a header; what surrounds it in a file that was pasted does not belong to it."""
        text = key.get_secret_value().strip()
        if not (text.isascii() and text.isprintable()) or " " in text:
            raise ValueError("has characters that no key has; copy it anew from the vendor's page")
        return SecretStr(text)

    @model_validator(mode="after")
    def _credentials_need_both(self) -> Self:
        if bool(self.credentials_chain) != bool(self.credentials_key):
            raise ValueError("set both NOVAI_CREDENTIALS_CHAIN and NOVAI_CREDENTIALS_KEY, or neither")
        return self

    @model_validator(mode="after")
    def _picsi_needs_its_address(self) -> Self:
        if self.picsi_key.get_secret_value() and not self.picsi_url:
            raise ValueError("PICSI_KEY is set but NOVAI_PICSI_URL is not: Picsi says both, with its contract")
        return self

    @model_validator(mode="after")
    def _supabase_needs_its_key(self) -> Self:
        if self.supabase_url and not self.supabase_key.get_secret_value():
            raise ValueError("SUPABASE_URL is set but SUPABASE_SERVICE_ROLE_KEY is not: set both, or neither")
        return self

    @classmethod
    def read(cls, **given: object) -> Self:
        """The settings of this process. Ends the process with the remedy when one is wrong."""
        try:
            return cls(**given)  # type: ignore[arg-type]
        except ValidationError as error:
            raise SystemExit(_remedy(error)) from None

    @property
    def lacks_a_key(self) -> bool:
        """Whether there is a vendor whose key is not set, so that the sandbox has somebody to stand in for."""
        keys = (self.fal_key, self.gemini_key, self.wavespeed_key, self.picsi_key)
        return not all(key.get_secret_value() for key in keys)

    @property
    def heartbeat_seconds(self) -> float:
        return self.lease_seconds / 4

    @property
    def files_folder(self) -> Path:
        return self.data.absolute() / "files"

    @property
    def scratch_folder(self) -> Path:
        return self.data.absolute() / "scratch"

    @property
    def shelf_folder(self) -> Path:
        """Sounds that were finished on this machine; anything in it may be deleted at any time."""
        return self.scratch_folder / "sounds"

    @property
    def uploads_folder(self) -> Path:
        return self.data.absolute() / "uploads"

    @property
    def arriving_folder(self) -> Path:
        """Files that come in whole with a form; on the disk of the store, so that keeping one is a rename."""
        return self.data.absolute() / "arriving"

    @cached_property
    def secret(self) -> str:
        """The signing key: the setting, or one made at the first start and kept in the data folder."""
        return self.secret_key.get_secret_value() or _kept_secret(self.data / "secret_key")


def _kept_secret(path: Path) -> str:
    """Several processes may start at once on an empty folder; the first complete file wins."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        with NamedTemporaryFile("w", dir=path.parent) as file:  # made with mode 0600
            file.write(secrets.token_urlsafe(48))
            file.flush()
            with suppress(FileExistsError):
                path.hardlink_to(file.name)
    return path.read_text().strip()


def _remedy(error: ValidationError) -> str:
    lines = ["NOVAI cannot start: a setting is wrong."]
    for problem in error.errors():
        field = ".".join(str(part) for part in problem["loc"]) or "settings"
        lines.append(f"  {field.upper()}: {problem['msg']}")
    return "\n".join([*lines, "Mend it in the environment or in .env, then start again."])
