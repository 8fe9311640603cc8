import pytest

from tests.models.timm_table import MODELS, assert_equal

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.usefixtures("one_thread")]


@pytest.mark.parametrize("kind", MODELS)
def test_stages_have_the_bits_of_the_whole_model(kind):
    assert_equal(MODELS[kind])
