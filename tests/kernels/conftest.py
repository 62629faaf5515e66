"The provisioner as an installed package has it"
import os

import pytest
from jupyter_client.provisioning import KernelProvisionerFactory

from gradeclass.kernels import client as kernels_client, server as kernels_server

@pytest.fixture(scope="module", autouse=True)
def registered(tmp_path_factory):
    "The provisioner's entry point, as an installed package has it, and the setting that chooses it"
    folder = tmp_path_factory.mktemp("site")
    info = folder/"warm_for_tests-1.dist-info"
    info.mkdir()
    (info/"METADATA").write_text("Metadata-Version: 2.1\nName: warm-for-tests\nVersion: 1\n")
    (info/"entry_points.txt").write_text("[jupyter_client.kernel_provisioners]\ngradeclass-warm = "
                                         "gradeclass.kernels.provisioner:WarmProvisioner\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        patch.setenv("PYTHONPATH", f"{folder}:{os.environ.get('PYTHONPATH', '')}")
        patch.setenv("JUPYTER_DEFAULT_PROVISIONER_NAME", "gradeclass-warm")
        patch.delenv(kernels_server.ADDRESS, raising=False)
        KernelProvisionerFactory.clear_instance()
        yield folder
        kernels_client.close_own()
    KernelProvisionerFactory.clear_instance()
