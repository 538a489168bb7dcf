"""Coming in, going out, and what one may change of one's own account."""

from flask import Blueprint, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from novai_web import accounts
from novai_web.accounts import Account
from novai_web.config import Settings
from novai_web.db import transaction
from novai_web.errors import Forbidden, InvalidInput, NotFound
from novai_web.pages import answers
from novai_web.web import limits, who
from novai_web.web.paths import local_path

bp = Blueprint("accounts", __name__)

HOME = "/"


@bp.get("/setup")
def setup() -> ResponseReturnValue:
    """The first visit of a fresh installation, and never again."""
    _only_while_fresh()
    return render_template("accounts/setup.html", given={}, errors={})


@bp.post("/setup")
@limits.sign_in_limits
def make_administrator() -> ResponseReturnValue:
    _only_while_fresh()
    return _register("accounts/setup.html")


@bp.get("/sign-up")
def sign_up() -> ResponseReturnValue:
    if who.signed_in():
        return redirect(HOME, 303)
    if not accounts.may_register(who.settings()):
        raise Forbidden(accounts.CLOSED)
    return render_template("accounts/sign_up.html", given={}, errors={})


@bp.post("/sign-up")
@limits.sign_in_limits
def make_account() -> ResponseReturnValue:
    return _register("accounts/sign_up.html")


@bp.get("/sign-in")
def sign_in() -> ResponseReturnValue:
    there = local_path(request.args.get("next"), HOME)
    if who.signed_in():
        return redirect(there, 303)
    return _sign_in_page(there)


@bp.post("/sign-in")
@limits.sign_in_limits
def start_session() -> ResponseReturnValue:
    there = local_path(request.form.get("next"), HOME)
    email, password = request.form.get("email", ""), request.form.get("password", "")
    try:
        with transaction():
            account = accounts.check_sign_in(email=email, password=password, settings=who.settings())
    except (accounts.WrongSignIn, Forbidden) as refused:
        return _sign_in_page(there, given={"email": email}, errors={"form": str(refused)}), 422
    who.sign_in(account)
    return redirect(there, 303)


@bp.post("/sign-out")
def sign_out() -> ResponseReturnValue:
    who.sign_out()
    return redirect(url_for("accounts.sign_in"), 303)


@bp.get("/settings")
def settings() -> ResponseReturnValue:
    return _settings_page(who.account())


@bp.post("/settings/profile")
def profile() -> ResponseReturnValue:
    account, name = who.account(), request.form.get("name", "")
    try:
        with transaction():
            accounts.rename(account, name)
    except InvalidInput as wrong:
        return _settings_page(account, given={"name": name}, errors=wrong.fields), 422
    answers.toast("Your name is saved.")
    return redirect(url_for("accounts.settings"), 303)


@bp.post("/settings/password")
@limits.password_tries
def password() -> ResponseReturnValue:
    account = who.account()
    current, new = request.form.get("current_password", ""), request.form.get("new_password", "")
    try:
        with transaction():
            accounts.change_password(account, current=current, new=new, settings=who.settings())
    except InvalidInput as wrong:
        return _settings_page(account, errors=wrong.fields), 422
    who.sign_in(account)
    answers.toast("Your password is changed. Every other device is signed out.")
    return redirect(url_for("accounts.settings"), 303)


@bp.post("/settings/sign-out-everywhere")
def sign_out_everywhere() -> ResponseReturnValue:
    with transaction():
        accounts.sign_out_everywhere(who.account())
    who.sign_out()
    answers.toast("Every session and every API token of yours is ended.")
    return redirect(url_for("accounts.sign_in"), 303)


def send_first_visitor_to_setup() -> ResponseReturnValue | None:
    """Until there is an administrator, every page is the one that makes it."""
    if request.endpoint in ("accounts.setup", "accounts.make_administrator") or who.signed_in() or accounts.anybody():
        return None
    return redirect(url_for("accounts.setup"), 303)


def _only_while_fresh() -> None:
    if accounts.anybody():
        raise NotFound


def _register(template: str) -> ResponseReturnValue:
    given = {name: request.form.get(name, "") for name in ("name", "email")}
    try:
        with transaction():
            account = accounts.register(**given, password=request.form.get("password", ""), settings=who.settings())
    except InvalidInput as wrong:
        return render_template(template, given=given, errors=wrong.fields), 422
    who.sign_in(account)
    return redirect(HOME, 303)


def _sign_in_page(there: str, given: dict[str, str] | None = None, errors: dict[str, str] | None = None) -> str:
    return render_template("accounts/sign_in.html", given=given or {}, errors=errors or {}, next=there)


def _settings_page(account: Account, given: dict[str, str] | None = None, errors: dict[str, str] | None = None) -> str:
    return render_template(
        "accounts/settings.html",
        given=given or {"name": account.name},
        errors=errors or {},
        installation=_installation(who.settings()) if account.is_admin else None,
    )


def _installation(settings: Settings) -> list[tuple[str, str | None]]:
    """What an administrator may want to know of this installation; nothing that is secret."""
    return [
        ("Address", settings.public_url or None),
        ("Sign-up", "open" if settings.sign_up == "open" else "closed"),
        ("Files", "Supabase Storage" if settings.supabase_url else str(settings.files_folder)),
        ("Largest file", f"{settings.upload_bytes_max / 1024**3:g} GB"),
        ("Storage of one account", f"{settings.account_bytes_max / 1024**3:g} GB"),
        ("Most variants in a batch", f"{settings.variants_max:,}"),
        ("Outputs live for", f"{settings.batch_hours} hours unless kept"),
        ("Trash is emptied after", f"{settings.trash_days} days"),
        ("Credits an account may spend a day", f"{settings.account_daily_credits:,}"),
        ("Spending limit of a day", f"${settings.daily_cost_limit_cents / 100:,.2f}"),
    ]
