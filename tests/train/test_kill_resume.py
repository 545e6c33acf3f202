from .kill_resume import check


def test_runs_killed_at_random_moments_go_on_to_the_same_bits(tmp_path):
    lines = check(tmp_path, kills=2, seed=1)
    assert [line.endswith("the same bits") for line in lines[1:]] == [True, True], lines
