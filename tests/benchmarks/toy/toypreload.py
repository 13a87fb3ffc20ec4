import pandas  # noqa
import toybench  # noqa
