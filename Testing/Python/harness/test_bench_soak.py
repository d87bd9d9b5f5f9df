"""`python3 dev.py bench soak`: clicks with the real model, volumes opened and closed, memory reported."""

from bench import soak

MIB = 2**20


def test_interactions_and_volumes_are_counted_from_the_end_of_the_warm_up(one_thread, capsys):
    interactions = soak.interactions(40, 20)
    assert [number for number, _ in interactions] == [20, 40]
    told = capsys.readouterr().err
    assert told.startswith("40 interactions, ") and int(told.split()[2]) > 20  # jobs that the network has had
    volumes = soak.volumes(2, 1)
    assert [number for number, _ in volumes] == [1, 2]
    assert all(100 * MIB < size < 4000 * MIB for _, size in (*interactions, *volumes))


def test_growth_of_five_percent_fails(monkeypatch, capsys):
    for last, status in ((1049, 0), (1051, 1)):
        monkeypatch.setattr(
            soak, "_in_own_process", lambda part, count, last=last: [(100, 1000 * MIB), (500, last * MIB)]
        )
        assert soak.main([]) == status
        assert (
            f"| interactions 100 to 500 | 1,000.0 MiB | {last:,.1f} MiB | {last / 10 - 100:.2f}% |"
            in capsys.readouterr().out
        )
