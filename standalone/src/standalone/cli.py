"""The `workflow` command: the whole platform on one machine."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from shared.errors import SuiteError
from standalone.errors import CommandFailedError, NotRunningError, StandaloneError
from standalone.home import Config, Home, default_home

if TYPE_CHECKING:
    from controller.services.rotation import TableReport

app = typer.Typer(
    name="workflow",
    help="A platform as a service on one machine: `git push`, and the app runs.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Port = Annotated[
    int | None,
    typer.Option("--port", min=1, max=65535, help="HTTP port of the edge (remembered; 8000 at first)."),
]
SshPort = Annotated[
    int | None,
    typer.Option("--ssh-port", min=1, max=65535, help="Port of git over SSH (remembered; 2222 at first)."),
]
Bind = Annotated[str | None, typer.Option("--bind", help="Address to listen on (remembered; 127.0.0.1 at first).")]

NOT_RUNNING_STATUS = 3


@contextmanager
def _explained() -> Iterator[None]:
    """Turn an expected error into one line on standard error and exit status 1 (3: nothing runs)."""
    try:
        yield
    except NotRunningError as exc:
        err.print(f"[red]Error:[/] {exc.detail}", markup=True)
        raise typer.Exit(NOT_RUNNING_STATUS) from exc
    except SuiteError as exc:
        err.print("[red]Error:[/]", end=" ")
        err.print(exc.detail, markup=False)
        raise typer.Exit(1) from exc


def _home() -> Home:
    return Home(default_home())


def _running() -> tuple[Home, Config]:
    home = _home()
    if home.running_pid() is None:
        raise NotRunningError(f"no platform runs on {home.path}; start it with `workflow up`")
    return home, home.load()


def _say(text: str) -> None:
    out.print(f"  [green]✓[/] {text}")


def _say_plain(text: str) -> None:
    # A detached start reads these lines until the platform is ready, and then stops reading.
    try:
        print(text, flush=True)
    except BrokenPipeError:
        return


@app.command()
def up(
    port: Port = None,
    ssh_port: SshPort = None,
    bind: Bind = None,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Return when it is healthy and leave it running.")
    ] = False,
    plain: Annotated[bool, typer.Option("--plain", hidden=True)] = False,
) -> None:
    """Start the platform and stay until Ctrl-C."""
    from standalone.runner import configure, run_platform, start_detached

    with _explained():
        home = _home()
        config = configure(home, port=port, ssh_port=ssh_port, bind=bind)
        if plain:
            run_platform(home, config, say=_say_plain)
            return
        out.print(f"Starting Workflow in {home.path}")
        if detach:
            start_detached(home, say=_say)
            _greet(home, config)
            out.print(f"Stop it with [bold]{_command(home)} down[/].")
            return

        async def greet() -> None:
            _greet(home, config)
            out.print("Stop it with Ctrl-C.")

        run_platform(home, config, say=_say, work=greet)
        out.print("Stopped.")


@app.command()
def down() -> None:
    """Stop the platform and everything that it runs."""
    from standalone.runner import stop_running

    with _explained():
        started = time.monotonic()
        stop_running(_home())
        out.print(f"Stopped ({time.monotonic() - started:.1f} s).")


@app.command()
def status(as_json: Json = False) -> None:
    """Show the health of every part, and the apps. Exit status 3 when nothing runs, 1 when something is unhealthy."""
    from standalone.health import all_health

    with _explained():
        home, config = _running()
        health = asyncio.run(all_health(home, config))
        healthy = all(part.healthy for part in health)
        apps = _apps(config) if healthy else []
        if as_json:
            report = {"home": str(home.path), "pid": home.running_pid(), "health": [asdict(part) for part in health]}
            print(json.dumps(report | {"apps": apps}))
        else:
            for part in health:
                sign = "[green]✓[/]" if part.healthy else "[red]✗[/]"
                out.print(f"  {sign} {part.component:20} {part.detail}")
            for item in apps:
                out.print(f"  {item['id']:22} {item['url']}  ({item['summary']})")
        if not healthy:
            raise typer.Exit(1)


def _apps(config: Config) -> list[dict[str, object]]:
    """Every app with its address and its processes."""
    from standalone.client import Client

    with Client(config) as client:
        client.login_as_admin()
        found = []
        for item in client.apps():
            name = str(item["id"])
            pods = client.pods(name)
            summary = ", ".join(f"{pod['type']} {pod['release']} {pod['state']}" for pod in pods) or "no processes"
            found.append({**item, "url": config.url(name), "processes": pods, "summary": summary})
        return found


@app.command()
def doctor(as_json: Json = False) -> None:
    """Check whether this machine can run the platform, and say what to do where it cannot."""
    from standalone.doctor import Verdict, examine, failures

    with _explained():
        findings = examine(_home())
        if as_json:
            print(json.dumps([asdict(finding) for finding in findings]))
        else:
            signs = {Verdict.OK: "[green]✓[/]", Verdict.WARN: "[yellow]![/]", Verdict.FAIL: "[red]✗[/]"}
            for finding in findings:
                out.print(f"  {signs[finding.verdict]} {finding.name:18} {finding.detail}")
                if finding.advice:
                    out.print(f"      {finding.advice}", style="dim", markup=False)
        if any(failures(findings)):
            raise typer.Exit(1)


@app.command()
def logs(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Keep printing what is added.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many lines from the end.")] = 100,
) -> None:
    """Show the platform's own log. (An app's log: `drycc apps logs`.)"""
    from standalone.tail import tail

    with _explained():
        home = _home()
        if not home.platform_log.exists():
            raise StandaloneError(f"no platform was ever started in {home.path}")
        try:
            for line in tail(home.platform_log, lines=lines, follow=follow):
                sys.stdout.write(line)
                sys.stdout.flush()
        except (KeyboardInterrupt, BrokenPipeError):
            return


@app.command()
def reset(yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False) -> None:
    """Remove the data directory: all apps, releases, accounts and logs."""
    with _explained():
        home = _home()
        if not home.path.exists():
            raise StandaloneError(f"there is nothing at {home.path}")
        if home.running_pid() is not None:
            raise StandaloneError("the platform runs; stop it with `workflow down` first")
        if not home.exists():
            raise StandaloneError(f"{home.path} is not a platform's data directory; nothing was removed")
        if not yes:
            typer.confirm(f"Remove {home.path} with all its apps and data?", abort=True)
        shutil.rmtree(home.path)
        out.print(f"Removed {home.path}.")


@app.command()
def demo(port: Port = None, ssh_port: SshPort = None, bind: Bind = None) -> None:
    """Start the platform, deploy the bundled sample by `git push`, show its answer, stay until Ctrl-C."""
    from standalone.demo import Demo
    from standalone.runner import configure, run_platform

    with _explained():
        home = _home()
        config = configure(home, port=port, ssh_port=ssh_port, bind=bind)
        out.print(f"Starting Workflow in {home.path}")

        async def deploy() -> None:
            out.print("Deploying the bundled sample by git push")
            done = await asyncio.to_thread(Demo(home, config, say=_say).deploy)
            out.print(f"  [green]✓[/] {done.app} v{done.version} runs, pushed in {done.push_seconds:.1f} s")
            out.print(f"\n[bold]{done.url}[/] answers:")
            out.print(f"  {done.answer}", markup=False)
            _greet(home, config)
            out.print("Stop it with Ctrl-C.")

        run_platform(home, config, say=_say, work=deploy)
        out.print("Stopped. Your apps come back with the next start.")


@app.command()
def link(
    name: Annotated[str, typer.Argument(help="Name of the app.")],
    key: Annotated[
        Path | None, typer.Option("--key", help="Public key file; by default the first of ~/.ssh/id_*.pub.")
    ] = None,
) -> None:
    """Make an app of the git repository in this directory: create it, add your SSH key and the remote `workflow`."""
    from standalone.link import link_repository

    with _explained():
        home, config = _running()
        linked = link_repository(home, config, name, key=key, directory=Path.cwd())
        made = "is ready" if linked.is_new else "was there already; this repository deploys to it now"
        out.print(f"  [green]✓[/] {name} {made}; remote [bold]workflow[/] is {linked.remote}")
        out.print("Now: [bold]git push workflow HEAD:main[/]")


users = typer.Typer(name="users", help="Accounts of the running platform.", no_args_is_help=True)
app.add_typer(users)


@users.command("create")
def users_create(
    username: Annotated[str, typer.Argument(help="Letters, digits and @.+-_")],
    email: Annotated[str, typer.Option("--email", help="Address; unique.")],
    administrator: Annotated[bool, typer.Option("--administrator", help="May do everything.")] = False,
) -> None:
    """Make an account. The password is asked for, or read from standard input."""
    from standalone.users import create_user, read_password

    with _explained():
        home, _ = _running()
        password = read_password()
        asyncio.run(create_user(home, username, email=email, password=password, administrator=administrator))
        out.print(f"Made the account {username}.")


@users.command("password")
def users_password(username: Annotated[str, typer.Argument(help="Whose password.")]) -> None:
    """Set a password. It is asked for, or read from standard input; the account's sessions end."""
    from standalone.users import read_password, set_password

    with _explained():
        home, _ = _running()
        asyncio.run(set_password(home, username, password=read_password()))
        out.print(f"Set the password of {username}.")


controller = typer.Typer(name="controller", help="Care for the running platform's controller.", no_args_is_help=True)
app.add_typer(controller)


@controller.command("rotate-keys")
def controller_rotate_keys(as_json: Json = False) -> None:
    """Encrypt all stored secrets with a new key, and forget the old one. The platform goes on meanwhile."""
    from standalone.rotation import rotate_keys

    def tell(name: str, table: TableReport) -> None:
        if not as_json:
            _say(f"{name}: {table.rows} rows, {table.renewed} secrets renewed")

    with _explained():
        home, _ = _running()
        report = asyncio.run(rotate_keys(home, progress=tell))
        if as_json:
            print(json.dumps(asdict(report) | {"renewed": report.renewed}))
        else:
            out.print(f"{report.renewed} secrets have a new key. It stands in {home.key_ring}: back it up.")


@app.command()
def check(
    as_json: Json = False,
    figures: Annotated[bool, typer.Option("--figures", help="Measure the platform on this machine besides.")] = False,
) -> None:
    """Go through the whole path in a directory of its own, unattended; leave nothing running."""
    from standalone.check import run_check

    with _explained():
        result = run_check(figures=figures or as_json, say=(lambda _: None) if as_json else _say)
        if as_json:
            print(json.dumps(result, indent=2))


def _command(home: Home) -> str:
    """How this user calls this command on this data directory."""
    program = "workflow" if shutil.which("workflow") else str(Path(sys.executable).parent / "workflow")
    return program if home.path == Path.home() / ".workflow" else f"WORKFLOW_HOME={home.path} {program}"


def _greet(home: Home, config: Config) -> None:
    out.print(f"""
API           {config.url("drycc")}
Administrator [bold]{config.admin_username}[/] / [bold]{config.admin_password}[/]   (kept in {home.config_file})

Push an app of yours (a repository with a Procfile, requirements.txt, package.json or index.html):
  [bold]{_command(home)} link myapp[/]   (makes the app, adds your SSH key and a git remote)
  [bold]git push workflow HEAD:main[/]
or with the released client:
  drycc login {config.url("drycc")} -u {config.admin_username} -p <password>
  drycc keys add && drycc apps create myapp && git push drycc HEAD:main
""")


def main() -> None:
    """Entry point of the console script."""
    try:
        app()
    except CommandFailedError as exc:
        err.print(f"Error: {exc.detail}", markup=False)
        sys.exit(1)


if __name__ == "__main__":
    main()
